"""One dense CRF over all regions of a partition, as HASSOD refines them."""
import numpy as np


class JointDenseCRF:
    """Fully connected CRF (Kraehenbuehl & Koltun, 2011) with many labels.

    Where `DenseCRFRefiner` asks of each mask alone whether a pixel is in or
    out, this one asks once to which of K regions a pixel belongs, so two
    neighbours cannot both take it. The defaults are HASSOD's, for a picture
    of 480 x 480 pixels.

    Args:
        iterations (int): mean-field iterations.
        smooth (tuple): compatibility, and extent in pixels, of the kernel
            that asks neighbours to agree.
        appearance (tuple): compatibility, extent in pixels, and extent in
            RGB levels of the kernel that asks like-coloured pixels to agree.
        floor (float): smallest probability of a region at a pixel; the
            logarithm wants one.
    """

    def __init__(self,
                 iterations: int = 10,
                 smooth: tuple[float, float] = (7, 3),
                 appearance: tuple[float, float, float] = (10, 50, 5),
                 floor: float = 1e-5) -> None:
        try:
            import pydensecrf.densecrf as densecrf
        except ImportError as error:
            raise ImportError(
                'refiner joint_densecrf needs the package pydensecrf2: '
                'pip install "sohes[refine]"') from error
        self.densecrf = densecrf
        self.iterations = iterations
        self.smooth = smooth
        self.appearance = appearance
        self.floor = floor

    def probabilities(self, pixels: np.ndarray,
                      soft: np.ndarray) -> np.ndarray:
        """Refine a whole partition.

        Args:
            pixels (np.ndarray): (H, W, 3) uint8 RGB.
            soft (np.ndarray): (K, H, W) float32 in [0, 1] that add up to 1,
                each region's probability before.

        Returns:
            np.ndarray: (K, H, W) float32, the same after.
        """
        count, height, width = soft.shape
        if count == 1:  # nothing to decide, and pydensecrf wants two
            return soft
        crf = self.densecrf.DenseCRF2D(width, height, count)
        unary = -np.log(np.maximum(soft, self.floor)).reshape(count, -1)
        crf.setUnaryEnergy(np.ascontiguousarray(unary, np.float32))
        crf.addPairwiseGaussian(sxy=self.smooth[1], compat=self.smooth[0])
        crf.addPairwiseBilateral(
            sxy=self.appearance[1],
            srgb=self.appearance[2],
            rgbim=np.ascontiguousarray(pixels),
            compat=self.appearance[0])
        found = np.asarray(crf.inference(self.iterations), np.float32)
        return found.reshape(soft.shape)
