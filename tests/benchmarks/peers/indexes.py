"""Other libraries' indexes as contestants: `python -m tests.benchmarks.peers.indexes NAME FOLDER EF_CONSTRUCTION`.

Built with as many threads as there are processors, asked on one.
"""

from __future__ import annotations

import os
import sys
from importlib.metadata import version
from pathlib import Path

import faiss
import hnswlib
import numpy as np

from tests.benchmarks.index_contest import Contestant, K, contest

LINKS = 16
THREADS = os.cpu_count() or 1
ROUNDS, POINTS_A_LIST = 10, 64
"""Of the clustering of IVF: fewer than faiss's 25 rounds over 256 points, for a small loss."""


def hnswlib_graph(vectors: np.ndarray, ef_construction: int) -> Contestant:
    """Hnswlib, inner product."""
    index = hnswlib.Index(space="ip", dim=vectors.shape[1])
    index.init_index(max_elements=len(vectors), M=LINKS, ef_construction=ef_construction, random_seed=0)
    index.add_items(vectors, num_threads=THREADS)
    index.set_num_threads(1)

    def search(query: np.ndarray, effort: int) -> np.ndarray:
        index.set_ef(effort)
        return index.knn_query(query[None], k=K)[0][0]

    shape = f"M {LINKS}, ef_construction {ef_construction}, ef {{effort}}"
    return Contestant(shape, search, _doubled(K, len(vectors)), index.index_file_size())


def faiss_graph(vectors: np.ndarray, ef_construction: int) -> Contestant:
    """HNSW of faiss, inner product, vectors as they are."""
    index = faiss.IndexHNSWFlat(vectors.shape[1], LINKS, faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efConstruction = ef_construction
    index.add(vectors)
    faiss.omp_set_num_threads(1)

    def search(query: np.ndarray, effort: int) -> np.ndarray:
        index.hnsw.efSearch = effort
        return index.search(query[None], K)[1][0]

    shape = f"M {LINKS}, ef_construction {ef_construction}, ef {{effort}}"
    return Contestant(shape, search, _doubled(K, len(vectors)), _size_bytes(index))


def faiss_lists(vectors: np.ndarray, _: int) -> Contestant:
    """Inverted lists of faiss, inner product, vectors as they are."""
    lists = int(2 * len(vectors) ** 0.5)
    quantizer = faiss.IndexFlatIP(vectors.shape[1])
    index = faiss.IndexIVFFlat(quantizer, vectors.shape[1], lists, faiss.METRIC_INNER_PRODUCT)
    index.cp.niter, index.cp.max_points_per_centroid, index.cp.seed = ROUNDS, POINTS_A_LIST, 0
    index.train(vectors)
    index.add(vectors)
    faiss.omp_set_num_threads(1)

    def search(query: np.ndarray, effort: int) -> np.ndarray:
        index.nprobe = effort
        return index.search(query[None], K)[1][0]

    return Contestant(f"{lists} lists, nprobe {{effort}}", search, _doubled(1, lists), _size_bytes(index))


CONTESTANTS = {
    "hnswlib": (f"hnswlib {version('hnswlib')}", hnswlib_graph),
    "faiss-hnsw": (f"faiss {faiss.__version__}, HNSW", faiss_graph),
    "faiss-ivf": (f"faiss {faiss.__version__}, IVF", faiss_lists),
}


def main() -> None:
    """Take part."""
    kind, folder, ef_construction = sys.argv[1:]
    faiss.omp_set_num_threads(THREADS)
    name, make = CONTESTANTS[kind]
    contest(name, lambda vectors, queries: make(vectors, int(ef_construction)), Path(folder))


def _doubled(first: int, most: int) -> list[int]:
    return [first << step for step in range(24) if first << step <= most] or [most]


def _size_bytes(index: faiss.Index) -> int:
    return int(faiss.serialize_index(index).nbytes)


if __name__ == "__main__":
    main()
