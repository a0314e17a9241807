"""Clustering alone: how many times faster than what else does the same.

    python benchmarks/clustering.py [--sizes 64 128] [--features A.npy ...]

Every row is measured in one run on one thread: ratios of medians, so that
they hold on another machine. scikit-image's ``merge_hierarchical`` merges by
the same rule; scikit-learn has no such rule, its nearest is average linkage
of cosine distances over the same grid, another result. The plain reference,
which scans all edges at every merge, is run at 32 x 32.
"""
import argparse
import statistics
import sys
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from sohes.environment import check_environment

check_environment()

import numpy as np

from sohes.pseudo_labels import PAPER_THRESHOLDS, cluster_features
from tests.test_pseudo_labels.oracle import float_similarity, merge_all_edges


def synthetic_features(size: int, sky: bool, channels: int = 768,
                       seed: int = 0) -> np.ndarray:
    """Entities and parts as two Voronoi maps with noise; sky: 55 % flat.

    Returns:
        np.ndarray: (size, size, channels) float32.
    """
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:size, :size] / size
    features = np.zeros((size, size, channels), np.float32)
    for count, weight in ((40, 1.0), (400, 0.6)):
        points = rng.random((count, 2))
        nearest = ((rows[..., None] - points[:, 0])**2 +
                   (columns[..., None] - points[:, 1])**2).argmin(-1)
        features += weight * rng.normal(size=(count, channels))[nearest]
    noise = rng.normal(size=features.shape)
    features += 0.7 * noise
    if sky:
        flat = rows < 0.55
        features[flat] = rng.normal(size=channels) + 0.35 * noise[flat]
    return features.astype(np.float32)


def scikit_image(features: np.ndarray) -> None:
    """merge_hierarchical with cosine similarity of feature sums."""
    from skimage.graph import RAG, merge_hierarchical
    height, width, channels = features.shape
    sums = features.reshape(-1, channels).astype(np.float64)
    graph = RAG()

    def distance(a: dict, b: dict) -> float:
        return 1 - float(a['sum'] @ b['sum']) / (a['norm'] * b['norm'])

    def merge(graph: RAG, source: int, target: int) -> None:
        node = graph.nodes[target]
        node['sum'] += graph.nodes[source]['sum']
        node['norm'] = float(np.sqrt(node['sum'] @ node['sum']))

    def weigh(graph: RAG, source: int, target: int, other: int) -> dict:
        return dict(weight=distance(graph.nodes[target], graph.nodes[other]))

    for r, row in enumerate(sums):
        graph.add_node(r, labels=[r], sum=row.copy(),
                       norm=float(np.sqrt(row @ row)))
    for r in range(len(sums)):
        for x, inside in ((r + 1, (r + 1) % width), (r + width, 1)):
            if inside and x < len(sums):
                graph.add_edge(r, x, weight=distance(graph.nodes[r],
                                                     graph.nodes[x]))
    merge_hierarchical(
        np.arange(len(sums)).reshape(height, width), graph,
        thresh=1 - PAPER_THRESHOLDS[-1], rag_copy=False,
        in_place_merge=True, merge_func=merge, weight_func=weigh)


def scikit_learn(features: np.ndarray) -> None:
    """Average linkage of cosine distances over the grid's edges."""
    from sklearn.cluster import AgglomerativeClustering
    from sklearn.feature_extraction.image import grid_to_graph
    height, width, channels = features.shape
    AgglomerativeClustering(
        n_clusters=1, metric='cosine', linkage='average',
        connectivity=grid_to_graph(height, width),
        compute_full_tree=True).fit(features.reshape(-1, channels))


def plain_reference(features: np.ndarray) -> None:
    """All edges at every merge, no heap."""
    merge_all_edges(features.astype(np.float64), float_similarity)


def seconds(function: Callable, features: np.ndarray, repeats: int) -> float:
    """Median wall seconds."""
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        function(features)
        times.append(time.perf_counter() - started)
    return statistics.median(times)


def peak_over_features(features: np.ndarray) -> float:
    """Peak memory that clustering takes, over the size of the features."""
    tracemalloc.start()
    cluster_features(features)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak / features.nbytes


def report(name: str, features: np.ndarray, rivals: dict) -> float:
    """Print a row; return our seconds."""
    ours = seconds(cluster_features, features, 5)
    row = (f'{name:<26}{ours * 1e3:>8.1f} ms '
           f'{peak_over_features(features):>6.1f} x')
    for rival in rivals.values():
        row += f'{seconds(rival, features, 1) / ours:>14.0f} x'
    print(row, flush=True)
    return ours


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--sizes', type=int, nargs='+', default=[64, 128])
    parser.add_argument('--features', nargs='*', default=[],
                        help='.npy files of (H, W, C) features')
    parser.add_argument('--skip-sklearn', action='store_true')
    args = parser.parse_args()
    rivals = {'scikit-image': scikit_image}
    if not args.skip_sklearn:
        rivals['scikit-learn'] = scikit_learn
    cluster_features(synthetic_features(8, sky=False))  # compile
    print(f'{"six thresholds, one run":<26}{"ours":>11}{"memory":>9}' +
          ''.join(f'{name:>16}' for name in rivals))
    times = {}
    for size in args.sizes:
        for sky in (False, True):
            name = f'{size}x{size}x768 ' + ('sky' if sky else 'ordinary')
            times[size, sky] = report(name, synthetic_features(size, sky),
                                      rivals)
    for path in args.features:
        features = np.load(path).astype(np.float32)
        report(f'{Path(path).stem[:18]} '
               f'{"x".join(map(str, features.shape))}', features, rivals)
    if {64, 128} <= set(args.sizes):
        growth = times[128, False] / times[64, False]
        print(f'128x128 takes {growth:.1f} times as long as 64x64 (ordinary)')
    small = synthetic_features(32, sky=False)
    ratio = seconds(plain_reference, small, 1) / seconds(
        cluster_features, small, 5)
    print(f'plain reference at 32x32x768: {ratio:.0f} times our time')


if __name__ == '__main__':
    main()
