"""Runs the worker: tasks from the queue, and the rounds that need no message."""

import asyncio
import logging
import signal

from gateway import queue
from gateway.errors import Unavailable
from gateway.judging.work import RENEW_SECONDS
from gateway.services import WorkerServices, worker_services
from gateway.settings import Settings
from gateway.tasks.announce_events import announce_events
from gateway.tasks.apply_retention import apply_retention
from gateway.tasks.blank_erased_lines import blank_erased_lines
from gateway.tasks.build_datasets import build_datasets, remove_left_datasets
from gateway.tasks.calibrate_judges import calibrate_judge, calibrate_judges
from gateway.tasks.deliver_webhooks import Deliveries
from gateway.tasks.guide_projects import guide_project
from gateway.tasks.judge_answers import Judging
from gateway.tasks.keep_partitions import keep_partitions
from gateway.tasks.load_models import load_model, unload_model
from gateway.tasks.merge_models import remove_unused_exports, start_merging
from gateway.tasks.read_exchanges import read_exchanges
from gateway.tasks.reconcile_adapters import watch_replica
from gateway.tasks.remove_aged_logs import remove_training_files
from gateway.tasks.remove_bodies import doom_bodies, remove_bodies
from gateway.tasks.remove_expired_files import remove_expired_files
from gateway.tasks.remove_model_files import remove_model_files
from gateway.tasks.report_hardware import report_hardware
from gateway.tasks.resume_fine_tuning_jobs import resume_fine_tuning_jobs
from gateway.tasks.run_evals import EvalRuns
from gateway.tasks.sample_exchanges import Sampling
from gateway.tasks.settle_fine_tuning_jobs import settle_fine_tuning_jobs
from gateway.tasks.validate_fine_tuning_job import validate_fine_tuning_job
from gateway.tasks.watch_alerts import watch_alerts, watch_quality
from gateway.tasks.watch_judging import watch_judging

log = logging.getLogger(__name__)

TASKS = {
    "validate_fine_tuning_job": validate_fine_tuning_job,
    "merge_model": start_merging,
    "load_model": load_model,
    "unload_model": unload_model,
    "calibrate_judge": calibrate_judge,
    "guide_project": guide_project,
}
ROUND_SECONDS = 2.0
EXPIRY_SECONDS = 60.0
SETTLE_SECONDS = 30.0
WEBHOOK_SECONDS = 1.0
ALERT_SECONDS = 30.0
QUALITY_SECONDS = 180.0
JUDGING_SECONDS = 1.0
SAMPLING_SECONDS = 2.0
CALIBRATION_SECONDS = 60.0
EVAL_SECONDS = 1.0
READING_SECONDS = 1.0
PARTITION_SECONDS = 600.0
BODIES_SECONDS = 2.0
UNNAMED_SECONDS = 3600.0
RETENTION_SECONDS = 3600.0


def run(settings: Settings) -> int:
    """Work until SIGTERM or SIGINT; the exit status."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        asyncio.run(_run(settings))
    except Unavailable as away:
        log.error("%s", away)
        return 1
    except asyncio.CancelledError:
        log.info("worker stops")
    return 0


async def _run(settings: Settings) -> None:
    """A signal, at any moment, cancels this: trainers are then stopped with a checkpoint behind them."""
    me = asyncio.current_task()
    assert me is not None
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, me.cancel)
    async with worker_services(settings) as wv:
        _start_rounds(wv)
        await queue.work(settings.redis.url, TASKS, wv)


def _start_rounds(wv: WorkerServices) -> None:
    wv.background.spawn(report_hardware(wv), "tell what this machine trains on")
    for url in wv.settings.engine.urls:
        wv.background.spawn(watch_replica(wv, url, ROUND_SECONDS), f"watch {url}")
    wv.background.repeat(lambda: resume_fine_tuning_jobs(wv), ROUND_SECONDS, "take up fine-tuning jobs")
    wv.background.repeat(lambda: settle_fine_tuning_jobs(wv), SETTLE_SECONDS, "settle fine-tuning jobs")
    wv.background.repeat(lambda: remove_expired_files(wv), EXPIRY_SECONDS, "remove expired files")
    wv.background.repeat(lambda: remove_model_files(wv), EXPIRY_SECONDS, "remove the files of deleted models")
    wv.background.repeat(lambda: remove_unused_exports(wv), EXPIRY_SECONDS, "remove unused exports")
    wv.background.repeat(lambda: build_datasets(wv), ROUND_SECONDS, "build datasets")
    wv.background.repeat(lambda: remove_left_datasets(wv), EXPIRY_SECONDS, "remove what builds left behind")
    wv.background.repeat(EvalRuns(wv).begin, EVAL_SECONDS, "take up runs of evals")
    wv.background.repeat(lambda: read_exchanges(wv), READING_SECONDS, "read exchanges, to be searched")
    wv.background.repeat(lambda: keep_partitions(wv), PARTITION_SECONDS, "make the months of the log ahead")
    wv.background.repeat(lambda: blank_erased_lines(wv), BODIES_SECONDS, "blank erased lines of datasets")
    wv.background.repeat(lambda: remove_bodies(wv), BODIES_SECONDS, "remove bodies that nobody names")
    wv.background.repeat(lambda: doom_bodies(wv), UNNAMED_SECONDS, "look for bodies that left the log")
    wv.background.repeat(lambda: apply_retention(wv), RETENTION_SECONDS, "remove what is kept no longer")
    wv.background.repeat(lambda: remove_training_files(wv), RETENTION_SECONDS, "remove log files of trainings")
    _start_webhooks(wv)
    _start_judging(wv)


def _start_webhooks(wv: WorkerServices) -> None:
    deliveries = Deliveries(wv)
    wv.background.repeat(lambda: announce_events(wv), WEBHOOK_SECONDS, "announce events")
    wv.background.repeat(deliveries.begin, WEBHOOK_SECONDS, "deliver webhooks")
    wv.background.repeat(lambda: watch_alerts(wv), ALERT_SECONDS, "look for alerts")
    wv.background.repeat(lambda: watch_quality(wv), QUALITY_SECONDS, "look for quality that drifts")
    wv.background.repeat(deliveries.remove_old, EXPIRY_SECONDS, "remove old deliveries")


def _start_judging(wv: WorkerServices) -> None:
    judging, sampling = Judging(wv), Sampling(wv)
    wv.background.repeat(sampling.round, SAMPLING_SECONDS, "sample exchanges for judges")
    wv.background.repeat(judging.begin, JUDGING_SECONDS, "let judges judge")
    wv.background.repeat(judging.renew, RENEW_SECONDS, "keep what judges are at")
    wv.background.repeat(judging.remove_old, EXPIRY_SECONDS, "remove what judges did long ago")
    wv.background.repeat(lambda: watch_judging(wv), EXPIRY_SECONDS, "look for judges that lag")
    wv.background.repeat(lambda: calibrate_judges(wv), CALIBRATION_SECONDS, "hold judges against people")
