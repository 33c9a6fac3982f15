"""Pictures of messages as arrays; a message is anything that has the fields, so ROS is not needed."""
