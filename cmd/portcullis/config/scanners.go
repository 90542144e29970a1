package config

import (
	"fmt"
	"net/url"
	"slices"
	"strings"

	configv1 "github.com/portcullis-av/portcullis/cmd/portcullis/config/v1"
)

func checkICAP(i *configv1.Icap, path string, found *report) {
	if i == nil {
		return
	}
	why, secure := checkICAPURL(i.GetUrl())
	if i.GetUrl() != "" && why != "" {
		found.add(path+".url", "%s", why)
	}
	if i.CaFile != nil && why == "" && !secure {
		found.add(path+".ca_file", "is of no use with icap://, which is plain text; use icaps:// or leave it out")
	}
	names := headerNames{}
	for j, h := range i.GetHeaders() {
		names.check(path, j, h.GetName(), h.Value, h.ValueFile, found)
	}
}

// headerNames finds headers that are given twice.
type headerNames map[string]int

// check checks one of the headers that stand in the section at path.
func (n headerNames) check(path string, i int, name string, value, file *string, found *report) {
	at := fmt.Sprintf("%s.headers[%d]", path, i)
	if (value == nil) == (file == nil) {
		found.add(at, "must have either value or value_file")
	}
	lower := strings.ToLower(name)
	if other, ok := n[lower]; ok && lower != "" {
		found.add(at+".name", "%s is already the name of headers[%d]", shown(name), other)
		return
	}
	n[lower] = i
}

// checkICAPURL says what is wrong with the URL of an ICAP service, or nothing,
// and whether it is one with TLS. It never repeats the URL.
func checkICAPURL(text string) (why string, secure bool) {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Hostname() == "" || u.Scheme != "icap" && u.Scheme != "icaps" ||
		strings.ContainsFunc(u.Host+u.RawQuery, func(r rune) bool { return r <= ' ' || r > '~' }):
		return "must be a URL such as icap://icap.example.net:1344/avscan", false
	case u.User != nil:
		return "must not hold a user name or password; secrets belong into files", false
	case u.Fragment != "":
		return "must end with the path or the query; no #", false
	}
	return "", u.Scheme == "icaps"
}

func checkRemote(c *configv1.Config, r *configv1.Remote, path string, found *report) {
	if r == nil {
		return
	}
	why := checkAddress(r.GetAddress(), false)
	switch {
	case r.GetAddress() == "":
	case why != "":
		found.add(path+".address", "%s", why)
	case r.GetAddress() == c.GetListen().GetExtproc():
		found.add(path+".address", "must not be listen.extproc: objects would go round in circles")
	}
	tls := r.GetTls()
	if tls == nil {
		return
	}
	if (tls.CertFile == nil) != (tls.KeyFile == nil) {
		found.add(path+".tls", "must have both cert_file and key_file, or neither")
	}
	if strings.HasPrefix(r.GetAddress(), "unix:") && tls.ServerName == nil {
		found.add(path+".tls", "must name server_name, as a Unix socket has no host name")
	}
}

// checkLargest finds bodies that an engine of the policy would never be given.
func checkLargest(c *configv1.Config, p *configv1.Policy, path string, found *report) {
	for i, e := range c.GetEngines() {
		limit := e.GetIcap().GetMaxObjectBytes()
		if limit > 0 && p.GetMaxBodyBytes() > limit && slices.Contains(p.GetEngines(), e.GetName()) {
			found.add(path+".max_body_bytes", "is more than engines[%d].icap.max_object_bytes (%d): larger bodies could never be scanned", i, limit)
		}
	}
}
