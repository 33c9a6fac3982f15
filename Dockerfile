# ROS 2 Jazzy with the node, for a machine with an NVIDIA GPU or without one:
#     docker build --tag activesam_ros .
#     docker run --rm -it --gpus all --network host --ipc host \
#         --volume ~/.cache/huggingface:/huggingface --env HF_HOME=/huggingface activesam_ros \
#         ros2 launch activesam_ros camera.launch.py image:=/camera/image_raw model:=facebook/sam3
# CUDA comes with torch's wheels; the host gives its driver, through the NVIDIA container toolkit.
FROM ros:jazzy-ros-base

ENV DEBIAN_FRONTEND=noninteractive \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility \
    ACTIVESAM_VENV=/opt/activesam_venv

SHELL ["/bin/bash", "-o", "pipefail", "-c"]
WORKDIR /opt/activesam_ros

# What changes seldom comes first, so that it is built once.
COPY package.xml ./
RUN apt-get update \
    && apt-get install --yes --no-install-recommends \
        build-essential python3-colcon-common-extensions python3-dev python3-venv \
    && rosdep update --rosdistro "$ROS_DISTRO" \
    && rosdep install --from-paths . --ignore-src --default-yes \
        --dependency-types=buildtool --dependency-types=build --dependency-types=exec \
    && rm -rf /var/lib/apt/lists/*

COPY . .
RUN source "/opt/ros/$ROS_DISTRO/setup.bash" && PIP_NO_CACHE_DIR=1 make setup

# env.sh sources ROS as well, and chooses the transport, for which each process needs 70 MB of /dev/shm: --ipc host.
ENTRYPOINT ["/bin/bash", "-c", "source /opt/activesam_ros/env.sh && exec \"$@\"", "activesam"]
CMD ["activesam", "--ros-args", "-p", "model:=toytown"]
