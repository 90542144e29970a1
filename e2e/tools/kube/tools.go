//go:build tools

// Package tools pins the parts of Kubernetes that "make test-mesh" starts. They
// live in a module of their own, so that none of what they need enters the
// service's go.mod.
package tools

import (
	_ "k8s.io/kubernetes/cmd/kube-apiserver"
	_ "k8s.io/kubernetes/cmd/kubectl"
)
