"""An executor without Spark: reads one partition as Spark's worker would, from a pickled reader, until killed or done.

Its arguments are the file with the pickled reader and partition, and the source address.
"""

from __future__ import annotations

import os
import pickle
import sys
from pathlib import Path


def main() -> None:
    """Print the number of records of the partition."""
    file, address = sys.argv[1:]
    os.environ["BULK_EXPORT_SOURCE_ADDRESS"] = address
    reader, partition = pickle.loads(Path(file).read_bytes())
    sys.stdout.write(f"{sum(batch.num_rows for batch in reader.read(partition))}\n")


if __name__ == "__main__":
    main()
