"""The studies that are broken: four commands that together run every kind of step, and are small."""

import json
import os
import signal
import subprocess
import sys
import time
import traceback
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from afd_study.study.study import open_study
from afd_study.study.workflow.manifests import MANIFEST, Damage, checksums, read_manifest
from afd_study.study.workflow.store import Store

ROOT = Path(__file__).resolve().parents[2]
SHORT = {
    **{"pretraining.steps": 20, "pretraining.checkpoint_every": 5, "pretraining.evaluate_every": 5},
    **{"sft.steps": 8, "sft.checkpoint_every": 4, "sft.evaluate_every": 4},
    **{
        "reward.training.steps": 6,
        "reward.training.checkpoint_every": 3,
        "reward.training.evaluate_every": 3,
    },
    "sampling.draws": 6,
    "sampling.n_max": 4,
    "sampling.max_new_tokens": 12,
}
ARMS = "[sft_preferred, spin_1, distilled_1, rl_init_sft_0.05, extrapolation_2, adversarial_js]"
WORLD = {
    **{"world.n_pretraining": 120, "world.n_demonstrations": 60, "world.n_validation": 30, "world.n_test": 6},
    **{"reward.kinds": "[init_sft, preferences]", "reward.n_preferences": 30, "matched_style": 0.9},
    **{"arms.names": ARMS, "arms.draws": 2, "arms.direct.steps": 4, "arms.direct.checkpoint_every": 2},
    **{"arms.direct.evaluate_every": 2, "arms.gradient.steps": 2, "arms.gradient.checkpoint_every": 1},
    **{
        "arms.gradient.evaluate_every": 1,
        "arms.adversarial.policy.steps": 2,
        "arms.adversarial.policy.evaluate_every": 1,
    },
    **{"arms.adversarial.policy.checkpoint_every": 1, "arms.adversarial.warmup_updates": 2},
}
KINDS = {"reward.kinds": "[init_sft, preferences]"}
WORDS = "how can I bake bread tell me about roses what is the way to paint a wall please explain".split()


@dataclass(frozen=True)
class Studied:
    """A command: its task and settings, and what it leaves in a store when nothing goes wrong."""

    task: str
    settings: dict[str, object]

    @property
    def words(self):
        sets = [word for key, value in self.settings.items() for word in ("--set", f"{key}={value}")]
        return ["run", "--task", self.task, "--profile", "smoke", "--json", *sets]

    def steps(self, root):
        texts = {key: str(value) for key, value in self.settings.items()}
        return open_study(self.task, "smoke", 0, 1, overrides=texts, store=Store(root), quiet=True).steps()


@dataclass
class Tally:
    """A line of the table: what was tried, how often it ended well, what did not, and a remark."""

    name: str
    tried: int = 0
    right: int = 0
    remark: str = ""
    faults: list[str] = field(default_factory=list)

    def note(self, right, what):
        self.tried += 1
        self.right += bool(right)
        if not right:
            self.faults.append(what)


def studies(folder, few=False):
    """Write the data and the judge that the commands read; return the commands, a quick one if `few`."""
    world = Studied("harmless", {**SHORT, **WORLD})
    if few:
        return [Studied("harmless", {**SHORT, **WORLD, "arms.names": "[]", "matched_style": "null"})]
    sys.path.insert(0, str(ROOT / "tests" / "helpers"))
    import standins

    data, judge = {"world.folder": write_dialogues(folder / "dialogues")}, folder / "judge"
    standins.judge(judge, gemma=False)
    fitted = {"judge.steps": 6, "judge.checkpoint_every": 3, "judge.evaluate_every": 3}
    published = {"judge": "null", "judge_model.name_or_path": judge, "sampling.long_prompts": "leave_out"}
    return [
        world,
        Studied("hh_rlhf", {**SHORT, **KINDS, **data, **fitted}),
        Studied("hh_rlhf", {**SHORT, **KINDS, **data, **published}),
        Studied("own_data", {**SHORT, "world.demonstrations": write_demonstrations(folder / "own.csv")}),
    ]


def write_dialogues(folder):
    """Write pairs in Anthropic's layout."""
    rng, rows = np.random.default_rng(0), []
    for number in range(100):
        start = f"\n\nHuman: {number} {' '.join(rng.choice(WORDS, size=5))}\n\nAssistant:"
        good, bad = (" ".join(rng.choice(WORDS, size=size)) for size in (6, 3))
        rows.append({"chosen": f"{start} {good}", "rejected": f"{start} {bad}"})
    (folder / "harmless-base").mkdir(parents=True)
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "harmless-base" / "train.jsonl").write_text(text)
    return folder


def write_demonstrations(path):
    rows = [f"question {number} about {WORDS[number % 18]},answer number {number}" for number in range(60)]
    path.write_text("\n".join(["prompt,response", *rows, ""]))
    return path


def artefacts(root):
    """The checksums of all files but the manifests, by step and key; what its manifest belies is damaged."""
    return {str(path.parent.relative_to(root)): _files(path.parent) for path in root.glob(f"*/*/{MANIFEST}")}


def _files(folder):
    files = checksums(folder)
    del files[MANIFEST]
    try:
        return files if read_manifest(folder)["files"] == files else "damaged"
    except Damage:
        return "damaged"


def command(studied, root, jobs=1):
    """Run a study as the command line does, in this process."""
    from afd_study.study.__main__ import main

    os.environ["AFD_STORE"] = str(root)
    sys.argv = ["afd", *studied.words, "--jobs", str(jobs)]
    main()


def forked(work, said):
    """Start `work` in a child whose words go to the file `said`; return its process id.

    It has all libraries already, so that a kill costs no start of Python.
    """
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        handle = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(handle, 1)
        os.dup2(handle, 2)
        sys.stdout, sys.stderr = open(1, "w", closefd=False), open(2, "w", closefd=False)
        work()
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def ended(child):
    """Wait for a child; its exit status, negative for a signal."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def as_on_a_terminal():
    for name in (signal.SIGINT, signal.SIGHUP):  # what runs in the background may ignore them
        signal.signal(name, signal.SIG_DFL)


def spawned(studied, root, jobs, *, prepare=as_on_a_terminal, front=()):
    """Start the command as a process of its own, in a group of its own."""
    environment = {**os.environ, "AFD_STORE": str(root), "OMP_NUM_THREADS": "1", "TQDM_DISABLE": "1"}
    words = [*front, sys.executable, "-m", "afd_study.study", *studied.words, "--jobs", str(jobs)]
    return subprocess.Popen(
        words,
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=prepare,
    )


def resumed_well(studied, root, expected, said):
    """Resume by the command line; return what is wrong with what it leaves, "" where nothing is."""
    status = ended(forked(lambda: command(studied, root), said))
    if status != 0:
        return f"the resumed run ended with {status}: {said.read_text()[-300:]}"
    left = artefacts(root)
    differing = sorted(key for key in {*left, *expected} if left.get(key) != expected.get(key))
    return f"other bits in {', '.join(differing)}" if differing else ""


def counted(name, count):
    """Go through range(count), saying on stderr how far it is."""
    began = latest = time.monotonic()
    for number in range(count):
        if time.monotonic() > latest + 1:
            latest = time.monotonic()
            left = (time.monotonic() - began) / number * (count - number)
            shown = f"{name} {number + 1} of {count}, about {left:.0f} s left"
            print(shown, file=sys.__stderr__, flush=True)
        yield number
