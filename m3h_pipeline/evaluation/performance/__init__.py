"""What a user of a model asks beside its score: errors, alerts, net benefit, subgroups (TRIPOD+AI)."""
