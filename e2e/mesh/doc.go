// Package mesh tests the gate in real meshes: Envoy Gateway's own translation
// and a running Envoy Gateway, a real Kubernetes API server, and a real Istio
// control plane, each with a real Envoy behind it.
//
// The programs take half an hour to build the first time, so that plain "go
// test" skips these tests and says so; "make test-mesh" builds them and runs all.
// Every process listens on the loopback interface and ends with its test.
package mesh
