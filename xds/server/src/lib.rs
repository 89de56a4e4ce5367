//! The standalone control plane: Kubernetes objects to the xDS and CA that istiod serves.
