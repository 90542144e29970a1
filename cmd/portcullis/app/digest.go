package app

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"

	"google.golang.org/protobuf/proto"

	configv1 "github.com/portcullis-av/portcullis/cmd/portcullis/config/v1"
)

// digest is the same for the same messages, as one binary sees them.
func digest(messages ...proto.Message) string {
	sum := sha256.New()
	for _, m := range messages {
		text, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
		if err != nil {
			panic(err) // it came out of the parser
		}
		one := sha256.Sum256(text)
		sum.Write(one[:])
	}
	return hex.EncodeToString(sum.Sum(nil))
}

// shownDigits of a digest are enough to tell versions of one file apart.
const shownDigits = 12

// hashOf names a configuration. It is the same for files that say the same,
// however they are written.
func hashOf(m *configv1.Config) string { return digest(m)[:shownDigits] }

// revision names a version of a policy: its settings and those of its engines,
// so all that decides its verdicts but the rules that lead to it, the engines'
// signatures and the release.
func revision(m *configv1.Config, p *configv1.Policy) string {
	all := []proto.Message{p}
	for _, e := range m.GetEngines() {
		if slices.Contains(p.GetEngines(), e.GetName()) {
			all = append(all, withoutCanary(e))
		}
	}
	return digest(all...)[:shownDigits]
}

// key changes with settings and with the content of the files that they name.
func (b *builder) key(settings proto.Message, files []string) string {
	key := digest(settings)
	for _, f := range files {
		key += " " + b.files[f]
	}
	return key
}

// engineFiles are the files that an engine reads once, when it is built. It reads
// the others again by itself: the API key, header values, the certificate that it
// shows to another Portcullis.
func engineFiles(e *configv1.Engine) []string {
	return given(append(slices.Clone(e.GetBuiltin().GetHashLists()),
		e.GetCloudmersive().GetCaFile(), e.GetIcap().GetCaFile(), e.GetRemote().GetTls().GetCaFile())...)
}

// cacheFiles are those of the cache. Redis' password is read for every connection.
func cacheFiles(c *configv1.Cache) []string {
	r := c.GetRedis()
	return given(r.GetHmacKeyFile(), r.GetTls().GetCaFile(), r.GetTls().GetCertFile(), r.GetTls().GetKeyFile())
}

// tlsFiles are those of the gRPC port.
func tlsFiles(t *configv1.TLS) []string {
	return given(t.GetCertFile(), t.GetKeyFile(), t.GetClientCaFile())
}

// filesOf are the files whose content belongs to a configuration.
func filesOf(m *configv1.Config) []string {
	all := append(tlsFiles(m.GetListen().GetTls()), cacheFiles(m.GetCache())...)
	for _, e := range m.GetEngines() {
		all = append(all, engineFiles(e)...)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

func given(files ...string) []string {
	return slices.DeleteFunc(files, func(f string) bool { return f == "" })
}
