"""Choose the devices of a run, and let several machines agree."""

import json
import os
import re

import keras
import tensorflow as tf

from util.say import UserError

PROCESSES_A_GPU = 12  # that draw samples: 300 to 400 a second each, and one may take 4,000
_KINDS = ("chief", "worker")  # of machines that train, in TF_CONFIG; the first one is the chief


def choose_strategy(devices):
    """Return the distribution strategy for a `devices` setting; call before any tensor is made.

    Parameters
    ----------
    devices : str
        "all" (every visible GPU, else the CPU), "cpu", or a list such as "gpu:0,gpu:2" or
        "cpu:0,cpu:1" (logical CPUs, for trying out what several GPUs would do). With the
        environment variable TF_CONFIG set, all machines that it names train together.

    Raises
    ------
    UserError
        A device that this machine does not have, or a TF_CONFIG that cannot be read.
    """
    if os.environ.get("TF_CONFIG") and (together := _several_machines()):
        return together
    gpus = tf.config.list_physical_devices("GPU")
    wanted = [part.strip().lower() for part in devices.split(",") if part.strip()]
    if wanted == ["all"]:
        wanted = [f"gpu:{i}" for i in range(len(gpus))] or ["cpu:0"]
    elif wanted == ["cpu"]:
        wanted = ["cpu:0"]
    bad = [w for w in wanted if not re.fullmatch(r"(gpu|cpu):\d{1,3}", w)]
    if bad or not wanted:
        raise UserError(f"devices = {devices!r}: must be all, cpu, or a list such as gpu:0,gpu:1")
    missing = [w for w in wanted if w.startswith("gpu") and int(w[4:]) >= len(gpus)]
    if missing:
        raise UserError(
            f"devices = {devices!r}: {', '.join(missing)} not found; TensorFlow sees {len(gpus)} "
            "GPU(s) here. For GPUs install tensorflow[and-cuda]; for the CPU set devices to cpu"
        )
    if not any(w.startswith("gpu") for w in wanted):
        tf.config.set_visible_devices([], "GPU")
    for gpu in gpus:
        tf.config.experimental.set_memory_growth(gpu, True)
    cpus = 1 + max((int(w[4:]) for w in wanted if w.startswith("cpu")), default=0)
    if cpus > 1:
        tf.config.set_logical_device_configuration(
            tf.config.list_physical_devices("CPU")[0],
            [tf.config.LogicalDeviceConfiguration()] * cpus,
        )
    if len(wanted) > 1:
        return tf.distribute.MirroredStrategy([f"/{w}" for w in wanted])
    if wanted == ["cpu:0"]:
        return tf.distribute.get_strategy()
    return tf.distribute.OneDeviceStrategy(f"/{wanted[0]}")


def fix_order_of_sums(strategy):
    """Let a CPU compute as it is written, from now on; call before a training step is traced.

    TensorFlow's graph optimiser has a sum of three or more gradients add up whichever is there
    first, or begin with another one from start to start. The last bits followed suit, and a run
    that was resumed was not the same as one that never stopped. On a CPU the optimiser does not
    make a step faster (docs/results.md), so it is switched off.
    """
    if strategy is tf.distribute.get_strategy():  # the default one, on a CPU
        tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})


def sample_processes(strategy):
    """Return how many processes should draw samples here: 0, threads do, but for GPUs."""
    if strategy is tf.distribute.get_strategy():  # the default one, on a CPU; it names no devices
        return 0
    gpus = sum("GPU" in device.upper() for device in strategy.extended.worker_devices)
    return min(_cores(), PROCESSES_A_GPU * gpus)


def _cores():
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):  # on Linux; a cluster gives a job some of a machine's
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _several_machines():
    """Return the strategy of all machines that TF_CONFIG names, None if it names this one alone."""
    try:
        place = json.loads(os.environ["TF_CONFIG"])
        cluster, kind = place["cluster"], place["task"]["type"]
        if kind in _KINDS:
            cluster[kind][int(place["task"]["index"])]
        together = sum(len(cluster.get(kind, [])) for kind in _KINDS)
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise UserError(
            "the environment variable TF_CONFIG is set but is no JSON with cluster and task, "
            f"the task one of the cluster ({error}); unset it to train on this machine alone"
        ) from None
    if kind not in _KINDS:
        raise UserError(
            f"TF_CONFIG makes this machine the {kind!r}, which takes no part: all machines train "
            "alike, and the first one saves. Start the script on chief and workers only, or unset "
            "TF_CONFIG to train on this machine alone"
        )
    if together == 1:
        return None
    for gpu in tf.config.list_physical_devices("GPU"):
        tf.config.experimental.set_memory_growth(gpu, True)
    return tf.distribute.MultiWorkerMirroredStrategy()


def set_precision(precision):
    """Set the arithmetic of all networks built from now on: float32 or mixed_bfloat16."""
    keras.config.set_dtype_policy(precision)


def is_chief(strategy):
    """Tell whether this process writes the run's files: the only one, the chief, or worker 0.

    Worker 0 writes only where TF_CONFIG names no chief.
    """
    resolver = strategy.cluster_resolver
    if resolver is None or not resolver.task_type:
        return True
    first = next(kind for kind in _KINDS if _cluster(resolver).get(kind))
    return (resolver.task_type, resolver.task_id) == (first, 0)


def workers(strategy):
    """Return how many processes train together."""
    resolver = strategy.cluster_resolver
    if resolver is None or not resolver.task_type:
        return 1
    return sum(len(_cluster(resolver).get(kind, [])) for kind in _KINDS) or 1


def _cluster(resolver):
    return resolver.cluster_spec().as_dict()


class Agreement:
    """Let all workers answer alike; with one process it costs nothing."""

    def __init__(self, strategy):
        self._strategy = strategy
        self._alone = workers(strategy) == 1

        @tf.function
        def total(value):
            def each(v):
                # identity puts the number onto the replica's device; all_reduce asks for one.
                return tf.distribute.get_replica_context().all_reduce("SUM", tf.identity(v))

            return strategy.experimental_local_results(strategy.run(each, (value,)))[0]

        self._total = total

    def any(self, flag):
        """Return whether `flag` is true on any worker; every worker must call this."""
        if self._alone:
            return flag
        return float(self._total(tf.constant(float(flag)))) > 0

    def same(self, number):
        """Return whether all workers hold the same number; every worker must call this."""
        if self._alone:
            return True
        mean = float(self._total(tf.constant(number, tf.float64))) / (
            self._strategy.num_replicas_in_sync
        )
        return mean == number and not self.any(mean != number)
