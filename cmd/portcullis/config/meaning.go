package config

import (
	"fmt"
	"slices"
	"strings"

	configv1 "github.com/portcullis-av/portcullis/cmd/portcullis/config/v1"
)

// checkMeaning checks what the proto cannot say: names that must exist,
// addresses, and sizes that must fit together.
func checkMeaning(c *configv1.Config, found *report) {
	checkListen(c.GetListen(), found)
	checkEngines(c, found)
	checkPolicies(c, found)
	checkPolicyNames(c, found)
	checkSpool(c, found)
	checkCache(c.GetCache(), found)
	checkOTLP(c, found)
}

func checkListen(l *configv1.Listen, found *report) {
	if why := checkAddress(l.GetExtproc(), true); why != "" {
		found.add("listen.extproc", "%s", why)
	}
	if why := checkAddress(l.GetAdmin(), true); why != "" {
		found.add("listen.admin", "%s", why)
	}
	if t := l.GetTls(); len(t.GetClientSpiffeIds()) > 0 && t.ClientCaFile == nil {
		found.add("listen.tls.client_spiffe_ids", "needs client_ca_file: without one clients show no certificate")
	}
	if l.GetExtproc() == l.GetAdmin() && !portZero(l.GetAdmin()) {
		found.add("listen.admin", "must not be the address of listen.extproc")
	}
}

func checkEngines(c *configv1.Config, found *report) {
	first := map[string]int{}
	for i, e := range c.GetEngines() {
		path := fmt.Sprintf("engines[%d]", i)
		if other, ok := first[e.GetName()]; ok {
			found.add(path+".name", "%s is already the name of engines[%d]", shown(e.GetName()), other)
		} else {
			first[e.GetName()] = i
		}
		for j, address := range e.GetClamd().GetAddresses() {
			if why := checkAddress(address, false); why != "" {
				found.add(fmt.Sprintf("%s.clamd.addresses[%d]", path, j), "%s", why)
			}
		}
		if cloud := e.GetCloudmersive(); cloud != nil {
			if why := checkURL(cloud.GetUrl()); why != "" {
				found.add(path+".cloudmersive.url", "%s", why)
			}
		}
		checkICAP(e.GetIcap(), path+".icap", found)
		checkRemote(c, e.GetRemote(), path+".remote", found)
		if probe := e.GetCanary(); probe.GetTimeout().AsDuration() > probe.GetInterval().AsDuration() {
			found.add(path+".canary.timeout", "must not be longer than interval (%s), or probes would overlap", probe.GetInterval().AsDuration())
		}
	}
}

func checkPolicies(c *configv1.Config, found *report) {
	known := engineNames(c)
	capacity := c.GetSpool().GetMemoryBytes() + c.GetSpool().GetDiskBytes()
	first := map[string]int{}
	for i, p := range c.GetPolicies() {
		path := fmt.Sprintf("policies[%d]", i)
		if other, ok := first[p.GetName()]; ok {
			found.add(path+".name", "%s is already the name of policies[%d]", shown(p.GetName()), other)
		} else {
			first[p.GetName()] = i
		}
		for j, name := range p.GetEngines() {
			if !found.broken["engines"] && !slices.Contains(known, name) {
				found.add(fmt.Sprintf("%s.engines[%d]", path, j), "no engine is named %s%s", shown(name), suggest(name, known))
			}
		}
		scans := p.GetRequest() != "skip" || p.GetResponse() != "skip"
		if scans && len(p.GetEngines()) == 0 {
			found.add(path+".engines", "must name an engine, as this policy scans; or set request and response to skip")
		}
		if scans {
			checkLargest(c, p, path, found)
		}
		if scans && p.GetMaxBodyBytes() > capacity {
			found.add(path+".max_body_bytes", "is more than spool.memory_bytes and spool.disk_bytes together (%d): such a body could never be held", capacity)
		}
	}
}

func checkPolicyNames(c *configv1.Config, found *report) {
	if found.broken["policies"] {
		return
	}
	var known []string
	for _, p := range c.GetPolicies() {
		if !slices.Contains(known, p.GetName()) {
			known = append(known, p.GetName())
		}
	}
	if !slices.Contains(known, DefaultPolicy) {
		found.add("policies", "none is named %q, which is used where no rule matches; add it or rename one", DefaultPolicy)
	}
	for i, r := range c.GetRules() {
		if name := r.GetPolicy(); name != "" && !slices.Contains(known, name) {
			found.add(fmt.Sprintf("rules[%d].policy", i), "no policy is named %s%s", shown(name), suggest(name, known))
		}
	}
}

func checkSpool(c *configv1.Config, found *report) {
	s := c.GetSpool()
	if s.GetBodyMemoryBytes() > s.GetMemoryBytes() {
		found.add("spool.body_memory_bytes", "must not be more than spool.memory_bytes (%d)", s.GetMemoryBytes())
	}
}

func checkCache(c *configv1.Cache, found *report) {
	r := c.GetRedis()
	if r == nil {
		return
	}
	if c.GetMemoryEntries() == 0 {
		found.add("cache.redis", "is of no use with memory_entries 0, which switches the whole cache off")
	}
	if why := checkAddress(r.GetAddress(), false); r.GetAddress() != "" && why != "" {
		found.add("cache.redis.address", "%s", why)
	}
	if r.Username != nil && r.PasswordFile == nil {
		found.add("cache.redis.username", "needs password_file")
	}
	tls := r.GetTls()
	if tls == nil {
		return
	}
	if (tls.CertFile == nil) != (tls.KeyFile == nil) {
		found.add("cache.redis.tls", "must have both cert_file and key_file, or neither")
	}
	if strings.HasPrefix(r.GetAddress(), "unix:") && tls.ServerName == nil {
		found.add("cache.redis.tls", "must name server_name, as a Unix socket has no host name")
	}
}
