"""Terraform and its providers in the artifact bucket: found, packed, published with a manifest."""
