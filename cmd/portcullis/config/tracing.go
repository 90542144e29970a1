package config

import (
	"strings"

	configv1 "github.com/portcullis-av/portcullis/cmd/portcullis/config/v1"
)

func checkOTLP(c *configv1.Config, found *report) {
	o := c.GetTracing().GetOtlp()
	if o == nil {
		return
	}
	const path = "tracing.otlp"
	why := checkAddress(o.GetAddress(), false)
	switch {
	case o.GetAddress() == "":
	case why != "":
		found.add(path+".address", "%s", why)
	case o.GetAddress() == c.GetListen().GetExtproc():
		found.add(path+".address", "must not be listen.extproc: Portcullis is no collector")
	}
	names := headerNames{}
	for i, h := range o.GetHeaders() {
		names.check(path, i, h.GetName(), h.Value, h.ValueFile, found)
	}
	tls := o.GetTls()
	if tls == nil {
		return
	}
	if (tls.CertFile == nil) != (tls.KeyFile == nil) {
		found.add(path+".tls", "must have both cert_file and key_file, or neither")
	}
	if strings.HasPrefix(o.GetAddress(), "unix:") && tls.ServerName == nil {
		found.add(path+".tls", "must name server_name, as a Unix socket has no host name")
	}
}
