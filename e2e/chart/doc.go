// Package chart holds the Helm chart to its promises without a cluster: what it
// renders is compared with golden files, judged by the schemas of Kubernetes
// and of every custom resource, and its Envoy configuration is the generator's.
//
// It has tests only. They run the real helm, kubeconform, promtool, clamd and
// Envoy; what is missing is skipped with the reason, and fails when CI=true. It
// must not know how Portcullis scans.
package chart
