package main

import (
	"archive/tar"
	"bytes"
	"encoding/pem"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"golang.org/x/crypto/x509roots/fallback/bundle"
)

// user is nobody in particular; Kubernetes wants a number to see that it is not root.
const user = 65532

// entry is a file or, with a name that ends in /, a folder.
type entry struct {
	name    string
	content []byte
	mode    int64
	owner   int
}

// image is the program for one platform on nothing else.
func (o options) image(b built, modules []module) (v1.Image, error) {
	base, err := baseEntries(modules)
	if err != nil {
		return nil, err
	}
	binary, err := os.ReadFile(b.file)
	if err != nil {
		return nil, err
	}
	img := mutate.MediaType(empty.Image, types.OCIManifestSchema1)
	img = mutate.ConfigMediaType(img, types.OCIConfigJSON)
	for _, l := range []struct {
		what    string
		entries []entry
		made    time.Time
	}{
		// The first layer seldom changes, so its times must not either.
		{"licences, authorities, folders", base, time.Unix(0, 0).UTC()},
		{"portcullis", []entry{{name: "portcullis", content: binary, mode: 0o755}}, b.made},
	} {
		layer, err := layerOf(l.entries, l.made)
		if err != nil {
			return nil, err
		}
		if img, err = mutate.Append(img, mutate.Addendum{Layer: layer, History: v1.History{CreatedBy: l.what, Created: v1.Time{Time: l.made}}}); err != nil {
			return nil, err
		}
	}
	config, err := img.ConfigFile()
	if err != nil {
		return nil, err
	}
	config = config.DeepCopy()
	config.OS, config.Architecture, config.Created = b.os, b.arch, v1.Time{Time: b.made}
	config.Config = v1.Config{
		User:       fmt.Sprintf("%d:%d", user, user),
		Entrypoint: []string{"/portcullis"},
		Cmd:        []string{"serve"},
		WorkingDir: "/",
		Labels: map[string]string{
			"org.opencontainers.image.title":       "Portcullis",
			"org.opencontainers.image.description": "A malware gate for Envoy.",
			"org.opencontainers.image.licenses":    "Apache-2.0",
			"org.opencontainers.image.version":     o.tag,
			"org.opencontainers.image.revision":    b.setting("vcs.revision"),
		},
	}
	return mutate.ConfigFile(img, config)
}

// baseEntries are all but the program.
func baseEntries(modules []module) ([]entry, error) {
	all := []entry{
		{name: "etc/ssl/certs/ca-certificates.crt", content: authorities(), mode: 0o644},
		{name: "etc/passwd", content: fmt.Appendf(nil, "portcullis:x:%d:%d::/:/sbin/nologin\n", user, user), mode: 0o644},
		// For who runs it without a volume there; bodies are held here.
		{name: "tmp/", mode: 0o1777},
		{name: "var/lib/portcullis/spool/", mode: 0o700, owner: user},
	}
	for _, m := range modules {
		for _, file := range m.licences {
			text, err := os.ReadFile(filepath.Join(m.Dir, file))
			if err != nil {
				return nil, err
			}
			name := m.Path
			if m.Version != "" {
				name += "@" + m.Version
			}
			all = append(all, entry{name: path.Join("licences", name, file), content: text, mode: 0o644})
		}
	}
	return all, nil
}

// authorities are those that Mozilla trusts without conditions, for engines on
// the public web. Go's own module has them, so the image depends on no
// machine's files.
func authorities() []byte {
	var out bytes.Buffer
	for root := range bundle.Roots() {
		if root.Constraint == nil {
			_ = pem.Encode(&out, &pem.Block{Type: "CERTIFICATE", Bytes: root.Certificate})
		}
	}
	return out.Bytes()
}

func layerOf(entries []entry, made time.Time) (v1.Layer, error) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	folders := map[string]bool{}
	for _, e := range entries {
		name := strings.TrimSuffix(e.name, "/")
		for i, r := range name {
			if above := name[:i]; r == '/' && !folders[above] {
				folders[above] = true
				if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: above + "/", Mode: 0o755, ModTime: made}); err != nil {
					return nil, err
				}
			}
		}
		h := &tar.Header{Typeflag: tar.TypeReg, Name: name, Size: int64(len(e.content)), Mode: e.mode, Uid: e.owner, Gid: e.owner, ModTime: made}
		if strings.HasSuffix(e.name, "/") {
			h.Typeflag, h.Name = tar.TypeDir, e.name
			folders[name] = true
		}
		if err := w.WriteHeader(h); err != nil {
			return nil, err
		}
		if _, err := w.Write(e.content); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b.Bytes())), nil },
		tarball.WithMediaType(types.OCILayer))
}
