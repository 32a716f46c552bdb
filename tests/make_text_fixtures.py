"""Makes tests/fixtures/texts: small Parquet files, as other programs write them.

    python3 -m venv /tmp/venv
    /tmp/venv/bin/pip install pyarrow==25.0.1
    /tmp/venv/bin/python tests/make_text_fixtures.py

Rows are like WikiText's: some are empty, some end in a line feed. rows.json holds what the columns hold.
"""

import json
from pathlib import Path

import pyarrow
import pyarrow.parquet as parquet

HERE = Path(__file__).resolve().parent / "fixtures" / "texts"
ROWS = ["", " = Whale = \n", "", " The whale is large , and grey .\n", "na\u00efve \u2014 \u9be8 \U0001f40b\n", ""]
ROWS += [f" Line {i} of the sea .\n" for i in range(14)]


def main():
    HERE.mkdir(parents=True, exist_ok=True)
    maybe = [None if i == 11 else f"m{i}" for i in range(len(ROWS))]
    table = pyarrow.table(
        {
            "id": pyarrow.array(range(len(ROWS)), pyarrow.int64()),
            "text": ROWS,
            "same": ["x"] * len(ROWS),
            "maybe": pyarrow.array(maybe, pyarrow.string()),
            "words": [["a", "b"]] * len(ROWS),
        }
    )
    for codec in ["snappy", "zstd", "gzip"]:
        # three row groups and a rest
        parquet.write_table(table, HERE / f"rows-{codec}.parquet", row_group_size=6, compression=codec)
    for version in ["1.0", "2.0"]:
        # with a checksum for every page
        parquet.write_table(
            table.select(["text", "same"]),
            HERE / f"rows-checked-v{version[0]}.parquet",
            row_group_size=6,
            write_page_checksum=True,
            data_page_version=version,
        )
    (HERE / "rows.json").write_text(json.dumps(ROWS) + "\n")


if __name__ == "__main__":
    main()
