#!/usr/bin/env bash
# Puts NVRTC, NVIDIA's run-time compiler, into target/nvrtc, where the program finds it. Needs pip and a network, no GPU.
# If it cannot, says so and succeeds: what needs NVRTC then says that it was skipped.
set -u
cd "$(dirname "$0")/.."
folder=${CARGO_TARGET_DIR:-target}/nvrtc
package=nvidia-cuda-nvrtc-cu12==12.9.86

[ -n "${DREAMER_NVRTC:-}" ] && { echo "NVRTC is $DREAMER_NVRTC (DREAMER_NVRTC)"; exit 0; }
[ -e "$folder/nvidia/cuda_nvrtc/lib/libnvrtc.so.12" ] && { echo "NVRTC is in $folder"; exit 0; }

# Into a folder of its own first, so that an interrupted download is not taken for a whole one.
partial=$folder.partial
rm -rf "$partial"
if "${PYTHON:-python3}" -m pip install --quiet --disable-pip-version-check --root-user-action=ignore --no-deps \
    --target "$partial" "$package" && rm -rf "$folder" && mv "$partial" "$folder"; then
    echo "NVRTC is in $folder"
else
    rm -rf "$partial"
    echo "NVRTC could not be fetched ($package): the tests of CUDA kernels will be skipped"
fi
