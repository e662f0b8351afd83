"""Exports for ONNX Runtime, in float32 and in eight bits, each compared before it is kept."""
