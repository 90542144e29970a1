package config

import (
	"fmt"
	"io"
	"os"

	configv1 "github.com/portcullis-av/portcullis/cmd/portcullis/config/v1"
)

// CheckFiles is the [Check] of [Load]: files that the configuration points at
// must be regular, readable and not empty, the spool's directory must be there.
// It never shows what is inside a file.
func CheckFiles(c *Config) []Problem {
	var problems []Problem
	add := func(path, why string) {
		if why != "" {
			problems = append(problems, Problem{Path: path, Message: why})
		}
	}
	m := c.message
	if tls := m.GetListen().GetTls(); tls != nil {
		add("listen.tls.cert_file", checkFile(tls.GetCertFile()))
		add("listen.tls.key_file", checkFile(tls.GetKeyFile()))
		add("listen.tls.client_ca_file", checkFile(tls.GetClientCaFile()))
	}
	for i, e := range m.GetEngines() {
		path := fmt.Sprintf("engines[%d]", i)
		for j, list := range e.GetBuiltin().GetHashLists() {
			add(fmt.Sprintf("%s.builtin.hash_lists[%d]", path, j), checkFile(list))
		}
		add(path+".cloudmersive.api_key_file", checkFile(e.GetCloudmersive().GetApiKeyFile()))
		add(path+".cloudmersive.ca_file", checkFile(e.GetCloudmersive().GetCaFile()))
		add(path+".icap.ca_file", checkFile(e.GetIcap().GetCaFile()))
		for j, h := range e.GetIcap().GetHeaders() {
			add(fmt.Sprintf("%s.icap.headers[%d].value_file", path, j), checkFile(h.GetValueFile()))
		}
		add(path+".remote.tls.ca_file", checkFile(e.GetRemote().GetTls().GetCaFile()))
		add(path+".remote.tls.cert_file", checkFile(e.GetRemote().GetTls().GetCertFile()))
		add(path+".remote.tls.key_file", checkFile(e.GetRemote().GetTls().GetKeyFile()))
	}
	redis := m.GetCache().GetRedis()
	add("cache.redis.password_file", checkFile(redis.GetPasswordFile()))
	add("cache.redis.hmac_key_file", checkFile(redis.GetHmacKeyFile()))
	add("cache.redis.tls.ca_file", checkFile(redis.GetTls().GetCaFile()))
	add("cache.redis.tls.cert_file", checkFile(redis.GetTls().GetCertFile()))
	add("cache.redis.tls.key_file", checkFile(redis.GetTls().GetKeyFile()))
	otlp := m.GetTracing().GetOtlp()
	for i, h := range otlp.GetHeaders() {
		add(fmt.Sprintf("tracing.otlp.headers[%d].value_file", i), checkFile(h.GetValueFile()))
	}
	add("tracing.otlp.tls.ca_file", checkFile(otlp.GetTls().GetCaFile()))
	add("tracing.otlp.tls.cert_file", checkFile(otlp.GetTls().GetCertFile()))
	add("tracing.otlp.tls.key_file", checkFile(otlp.GetTls().GetKeyFile()))
	add("spool.disk_dir", checkSpoolDirectory(m.GetSpool()))
	return problems
}

// checkFile says why a file cannot be read, or nothing; a path that was left
// out is fine.
func checkFile(path string) string {
	if path == "" {
		return ""
	}
	// Before opening: a FIFO would block.
	info, err := os.Stat(path)
	if err != nil {
		return "cannot be read: " + reason(err)
	}
	if !info.Mode().IsRegular() {
		return "is not a regular file"
	}
	f, err := os.Open(path) //nolint:gosec // the operator's own path
	if err != nil {
		return "cannot be read: " + reason(err)
	}
	defer func() { _ = f.Close() }()
	switch _, err := io.ReadFull(f, make([]byte, 1)); err {
	case nil:
		return ""
	case io.EOF:
		return "is an empty file"
	default:
		return "cannot be read: " + reason(err)
	}
}

func checkSpoolDirectory(s *configv1.Spool) string {
	if s.GetDiskBytes() == 0 {
		return ""
	}
	info, err := os.Stat(s.GetDiskDir())
	switch {
	case err != nil:
		return "cannot be used: " + reason(err) + "; create the directory, or set disk_bytes to 0"
	case !info.IsDir():
		return "is not a directory"
	}
	return ""
}
