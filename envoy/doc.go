// Package envoy writes Envoy configuration that keeps Portcullis' promise: the
// listener, the external-processing filter and the clusters of a stand-alone
// Envoy ([Static], [StaticYAML]), an Envoy through which clients reach the outside
// ([ForwardProxy], [ForwardProxyYAML]), the EnvoyFilter objects that put the same
// filter into an Istio mesh ([IstioYAML]), and the policies that put it into an
// Envoy Gateway ([GatewayYAML]).
//
// [Lint] reads configuration that somebody else wrote and names the settings
// that let bodies pass unscanned or make exchanges hang.
//
// What is written is built as Envoy's own protobuf messages, checked by their
// validation rules, and only then printed as YAML, with the reason beside every
// setting that is not Envoy's default.
//
// The package must not know how Portcullis scans, its configuration file, or
// how an Envoy process is started. It opens no connection and no file.
package envoy
