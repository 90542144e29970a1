// Command bench measures what the gate costs. It starts an origin, a null
// processor (which answers everything and scans nothing) and Portcullis, each
// in a process of its own behind a real Envoy with the generated configuration,
// sends the same traffic through all of them in turn, several times over (and,
// where clamd is installed, drives clamd alone), and
// prints medians and their ratios as a Markdown table, and as JSON with -json.
//
// Only the ratios are worth comparing between machines: client, origin, Envoy
// and processor share its cores. A ratio is the median of the ratios of each
// repeat, so a slow minute of the machine hits both of its sides.
package main
