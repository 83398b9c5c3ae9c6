from gateway.fine_tuning.step_metrics import file_id_of, step_metrics


class TestStepMetrics:
    def test_openais_columns_in_the_order_of_steps(self) -> None:
        rows = [
            {"step": 10, "total_steps": 10, "train_loss": 0.25, "train_mean_token_accuracy": 0.75},
            {
                "step": 9,
                "train_loss": 1 / 3,
                "train_mean_token_accuracy": 0.5,
                "valid_loss": 0.5,
                "valid_mean_token_accuracy": 1.0,
                "full_valid_loss": 7.0,
            },
        ]
        assert step_metrics(rows, method="supervised") == (
            b"step,train_loss,train_accuracy,valid_loss,valid_mean_token_accuracy\n"
            b"9,0.3333333333333333,0.5,0.5,1.0\n"
            b"10,0.25,0.75,,\n"
        )

    def test_dpo_has_more_at_the_end(self) -> None:
        content = step_metrics([{"step": 1, "train_loss": 0.5, "train_reward_margin": -0.1}], method="dpo")
        assert content == (
            b"step,train_loss,train_accuracy,valid_loss,valid_mean_token_accuracy,train_reward_accuracy,"
            b"train_reward_margin,full_valid_reward_accuracy,full_valid_reward_margin\n"
            b"1,0.5,,,,,-0.1,,\n"
        )

    def test_no_steps(self) -> None:
        assert step_metrics([], method="supervised").count(b"\n") == 1


class TestFileId:
    def test_follows_from_the_job(self) -> None:
        assert file_id_of("ftjob-1") == file_id_of("ftjob-1") != file_id_of("ftjob-2")
        assert len(file_id_of("ftjob-1")) == len("file-") + 24
