package image_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// archive are the files of an OCI layout.
type archive map[string][]byte

func readArchive(t *testing.T, file string) archive {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	a := archive{}
	for r := tar.NewReader(f); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return a
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		a[h.Name] = content
		if digest, ok := strings.CutPrefix(h.Name, "blobs/sha256/"); ok {
			if sum := sha256.Sum256(content); hex.EncodeToString(sum[:]) != digest {
				t.Errorf("%s is another blob", h.Name)
			}
		}
	}
}

func (a archive) json(t *testing.T, name string, into any) {
	t.Helper()
	text, ok := a[name]
	if !ok {
		t.Fatalf("the archive has no %s", name)
	}
	if err := json.Unmarshal(text, into); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}

type descriptor struct {
	MediaType   string
	Digest      string
	Size        int
	Annotations map[string]string
}

func (d descriptor) blob() string { return "blobs/" + strings.Replace(d.Digest, ":", "/", 1) }

type manifest struct {
	MediaType string
	Config    descriptor
	Layers    []descriptor
}

type configuration struct {
	OS, Architecture string
	Config           struct {
		User       string
		Entrypoint []string
		Cmd        []string
		Labels     map[string]string
	}
	RootFS struct {
		DiffIDs []string `json:"diff_ids"`
	}
}

// unpack writes the layers of an image into a folder, as a runtime does, and
// returns the modes and owners that it was told.
func (a archive) unpack(t *testing.T, m manifest, folder string) map[string]*tar.Header {
	t.Helper()
	found := map[string]*tar.Header{}
	for _, l := range m.Layers {
		z, err := gzip.NewReader(bytes.NewReader(a[l.blob()]))
		if err != nil {
			t.Fatal(err)
		}
		for r := tar.NewReader(z); ; {
			h, err := r.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			found[strings.TrimSuffix(h.Name, "/")] = h
			path := filepath.Join(folder, h.Name)
			if h.Typeflag == tar.TypeDir {
				err = os.MkdirAll(path, 0o755)
			} else {
				err = writeFile(path, r, os.FileMode(h.Mode))
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	return found
}

func writeFile(path string, from io.Reader, mode os.FileMode) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, from)
	return errors.Join(err, f.Close())
}
