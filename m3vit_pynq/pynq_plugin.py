# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
"""What PYNQ imports of this package (entry point ``pynq.lib``).

Every `pynq.Overlay` imports it, so that the driver is bound to the IP also
where the overlay was not made by `M3ViTOverlay`.
"""

from m3vit_pynq.driver import M3ViTDriver

__all__ = ["M3ViTDriver"]
