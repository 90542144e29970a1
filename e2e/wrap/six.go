package wrap

import "net/http"

// Wrapping is a common way in which a file travels.
type Wrapping struct {
	Name   string
	Header http.Header
	Wrap   func(file []byte) []byte
}

// Common are the ways in which most files travel.
func Common() []Wrapping {
	const octets = "application/octet-stream"
	return []Wrapping{
		{"raw", typed(octets), func(p []byte) []byte { return p }},
		{"gzip coding", coded(octets, "gzip"), gz},
		{"multipart", typed(formType("common-0f3a")), func(p []byte) []byte { return form("common-0f3a", p) }},
		{"zip", typed("application/zip"), func(p []byte) []byte { return zipOf(deflated("folder/sample.bin", p)) }},
		{"base64 in JSON", typed("application/json"), func(p []byte) []byte { return []byte(`{"name":"sample","data":"` + b64(p) + `"}`) }},
		{"tar.gz", typed("application/gzip"), func(p []byte) []byte { return gz(tarOf(p)) }},
	}
}
