"""The engines and their providers in the artifact bucket: found, packed, published with a manifest."""
