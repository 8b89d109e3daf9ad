"""Stand-ins for ``simskip.index`` while it is not on this branch."""

import sys
import types

import numpy as np

try:
    import simskip.index  # noqa: F401
except ImportError:
    module = types.ModuleType("simskip.index")

    class VectorIndex:
        def __init__(self, dim, metric="cosine"):
            self.dim, self.metric = dim, metric
            self.X = np.empty((0, dim), np.float32)

        def __len__(self):
            return len(self.X)

        def add(self, X, ids=None):
            self.X = np.concatenate([self.X, X])

        def search(self, Q, k=25, threads=None):
            X, Q = self.X.astype(float), Q.astype(float)
            if self.metric == "l2":
                D = np.sqrt(np.square(Q[:, None] - X[None]).sum(2))
            elif self.metric == "dot":
                D = -(Q @ X.T)
            else:
                D = 1 - (Q / np.linalg.norm(Q, axis=1)[:, None]) @ (X / np.linalg.norm(X, axis=1)[:, None]).T
            ids = np.argsort(D, axis=1, kind="stable")[:, :k]
            return np.take_along_axis(D, ids, 1).astype(np.float32), ids

    class HammingIndex:
        def __init__(self, n_bits, method="auto"):
            self.n_bits, self.data = n_bits, np.empty((0, (n_bits + 7) // 8), np.uint8)

        def __len__(self):
            return len(self.data)

        def add(self, codes, ids=None):
            self.data = np.concatenate([self.data, codes.data])

        def search(self, codes, k=25, threads=None):
            D = np.stack([np.bitwise_count(self.data ^ q).sum(1) for q in codes.data]).astype(np.int32)
            ids = np.argsort(D, axis=1, kind="stable")[:, :k]
            return np.take_along_axis(D, ids, 1), ids

    class SimilarityIndex:
        def __init__(self, hasher, metric="cosine"):
            self.hasher, self.metric = hasher, metric
            self.codes = None

        def __len__(self):
            return 0 if self.codes is None else len(self.codes)

        @property
        def nbytes_codes(self):
            return self.codes.nbytes

        def add(self, X):
            self.codes = self.hasher.encode(X)
            self.index = HammingIndex(self.codes.n_bits)
            self.index.add(self.codes)
            self.X = X

        def search(self, Q, k=25, scoring="codes", rerank=None, recall=None, threads=None):
            codes = self.hasher.encode(Q)
            if rerank is None:
                return self.index.search(codes, k)
            _, near = self.index.search(codes, min(k * rerank, len(self)))
            near = np.sort(near, axis=1)
            distances, ids = [], []
            for q, rows in zip(Q, near, strict=True):
                exact = VectorIndex(Q.shape[1], self.metric)
                exact.add(self.X[rows])
                d, i = exact.search(q[None], k)
                distances.append(d[0])
                ids.append(rows[i[0]])
            return np.array(distances), np.array(ids)

    module.VectorIndex, module.HammingIndex, module.SimilarityIndex = (
        VectorIndex,
        HammingIndex,
        SimilarityIndex,
    )
    sys.modules["simskip.index"] = module
