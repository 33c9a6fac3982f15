"""Stages of the ActiveSAM method, which `activesam_ros.segmenter` puts together."""
