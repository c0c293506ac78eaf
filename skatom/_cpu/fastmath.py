"""What compiled loops may assume."""

# Sums may be reordered and contracted; NaN and infinity keep their meaning.
FASTMATH = {"reassoc", "contract", "nsz", "arcp"}
