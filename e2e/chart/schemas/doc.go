// Command schemas writes the JSON schemas by which kubeconform judges what the
// chart renders. They are made from the sources of Kubernetes, Istio, Envoy
// Gateway, cert-manager and the Prometheus Operator, as Go modules have them,
// because nobody publishes them where only package registries can be reached.
//
// It knows OpenAPI and nothing of the chart.
package main
