"""What was said of a job, as a URL and as the API takes it."""

from admin.console.training.recommendations import Recommended
from admin.console.training.wish import Wish


def test_the_body_of_a_supervised_job() -> None:
    wish = Wish.of(
        {
            "goal": "tickets",
            "data": "file-a,file-b",
            "model": "starter",
            "type": "lora",
            "lora_rank": "16",
            "n_epochs": "auto",
            "learning_rate_multiplier": "0.5",
            "packing": "true",
            "beta": "0.1",
            "seed": "7",
            "suffix": " support ",
        }
    )
    assert wish.body("supervised") == {
        "model": "starter",
        "training_file": "file-a",
        "validation_file": "file-b",
        "method": {
            "type": "supervised",
            "supervised": {"hyperparameters": {"n_epochs": "auto", "learning_rate_multiplier": 0.5}},
        },
        "training": {"type": "lora", "lora_rank": 16, "packing": True},
        "suffix": "support",
        "seed": 7,
        "metadata": {"goal": "tickets"},
    }


def test_pairs_have_a_beta_and_all_weights_no_rank() -> None:
    wish = Wish.of({"data": "file-a", "model": "m", "type": "full", "lora_rank": "8", "beta": "0.2"})
    body = wish.body("dpo")
    assert body["method"]["dpo"]["hyperparameters"] == {"beta": 0.2}
    assert body["training"] == {"type": "full"}
    assert "validation_file" not in body


def test_what_was_said_is_kept_over_what_is_recommended() -> None:
    wish = Wish.of({"n_epochs": "5"}).filled([Recommended("n_epochs", 2, "."), Recommended("lora_rank", 8, ".")])
    assert (wish.n_epochs, wish.lora_rank) == ("5", "8")


def test_no_number_is_left_for_the_api_to_refuse() -> None:
    assert Wish.of({"n_epochs": "many"}).body("supervised")["method"]["supervised"]["hyperparameters"] == {
        "n_epochs": "many"
    }


def test_a_form_carries_what_it_does_not_ask_for() -> None:
    assert Wish.of({"goal": "g", "model": "m", "foreign": "x"}).beside(["goal"]) == {"model": "m"}
