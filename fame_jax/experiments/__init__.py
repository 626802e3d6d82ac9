"""The paper's experiments as jobs that can be killed and continued: records to maps, to scores, to tables."""
