package main

import (
	"archive/tar"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// archive writes an OCI layout with one image, or with an index of one for each
// platform, and returns its digest. Beside it stands the manifest that older
// releases of Docker look for.
func (o options) archive(all []built, folder, file string) (v1.Hash, error) {
	reference := o.name + ":" + o.tag
	named := layout.WithAnnotations(map[string]string{
		"org.opencontainers.image.ref.name": reference, // podman
		"io.containerd.image.name":          reference, // containerd, Docker
	})
	path, err := layout.Write(folder, mutate.IndexMediaType(empty.Index, types.OCIImageIndex))
	if err != nil {
		return v1.Hash{}, err
	}
	var digest v1.Hash
	if len(all) == 1 {
		if digest, err = all[0].image.Digest(); err == nil {
			err = path.AppendImage(all[0].image, named)
		}
	} else {
		index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
		for _, b := range all {
			index = mutate.AppendManifests(index, mutate.IndexAddendum{
				Add: b.image, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: b.os, Architecture: b.arch}},
			})
		}
		if digest, err = index.Digest(); err == nil {
			err = path.AppendIndex(index, named)
		}
	}
	if err != nil {
		return v1.Hash{}, err
	}
	if err := writeDockerManifest(all[0].image, reference, filepath.Join(folder, "manifest.json")); err != nil {
		return v1.Hash{}, err
	}
	return digest, pack(folder, file, all[0].made)
}

func writeDockerManifest(img v1.Image, reference, file string) error {
	manifest, err := img.Manifest()
	if err != nil {
		return err
	}
	blob := func(h v1.Hash) string { return "blobs/" + h.Algorithm + "/" + h.Hex }
	entry := struct {
		Config   string
		RepoTags []string
		Layers   []string
	}{Config: blob(manifest.Config.Digest), RepoTags: []string{reference}}
	for _, l := range manifest.Layers {
		entry.Layers = append(entry.Layers, blob(l.Digest))
	}
	text, err := json.Marshal([]any{entry})
	if err != nil {
		return err
	}
	return os.WriteFile(file, text, 0o644)
}

// pack writes a folder as a tar, in the order of names and with one time for all.
func pack(folder, file string, made time.Time) error {
	out, err := os.Create(file)
	if err != nil {
		return err
	}
	defer func() { _ = out.Close() }() // below, if all goes well
	w := tar.NewWriter(out)
	err = filepath.WalkDir(folder, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		return add(w, path, filepath.ToSlash(strings.TrimPrefix(path, folder+string(filepath.Separator))), made)
	})
	if err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	return out.Close()
}

func add(w *tar.Writer, path, name string, made time.Time) error {
	in, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }()
	info, err := in.Stat()
	if err != nil {
		return err
	}
	if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Size: info.Size(), Mode: 0o644, ModTime: made}); err != nil {
		return err
	}
	_, err = io.Copy(w, in)
	return err
}
