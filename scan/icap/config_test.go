package icap_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/portcullis-av/portcullis/scan/icap"
)

func TestNew(t *testing.T) {
	for _, url := range []string{
		"icap://icap.example.net/avscan", "icap://icap.example.net", "icap://127.0.0.1:1344/a/b?c=d&e", "icap://[::1]:1344/avscan",
		"icaps://icap.example.net/avscan",
	} {
		if _, err := icap.New(icap.Config{URL: url}); err != nil {
			t.Errorf("%q: %v", url, err)
		}
	}
	empty := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	const good = "icap://icap.example.net/avscan"
	for _, c := range []icap.Config{
		{},
		{URL: "icap.example.net:1344"},
		{URL: "http://icap.example.net/avscan"},
		{URL: "icap:///avscan"},
		{URL: "icap://:1344/avscan"},
		{URL: "icap:avscan"},
		{URL: "icap://user:hunter2@icap.example.net/avscan"},
		{URL: "icap://icap.example.net/avscan#hunter2"},
		{URL: "icap://icap.example.net/av scan?a b"},
		{URL: "icap://icap.example.net/\r\nX: hunter2"},
		{URL: good, CAFile: empty},
		{URL: "icaps://icap.example.net/avscan", CAFile: empty},
		{URL: "icaps://icap.example.net/avscan", CAFile: empty + "-none"},
		{URL: good, Method: "OPTIONS"},
		{URL: good, MaxPreview: -1},
		{URL: good, MaxPreview: 1 << 20},
		{URL: good, ConnectTimeout: -1},
		{URL: good, IdleTimeout: -1},
		{URL: good, MaxObjectBytes: 100},
		{URL: good, MaxObjectBytes: 1 << 40},
		{URL: good, Headers: []icap.Header{{Name: "", Value: "x"}}},
		{URL: good, Headers: []icap.Header{{Name: "a b", Value: "x"}}},
		{URL: good, Headers: []icap.Header{{Name: "X-A:", Value: "x"}}},
		{URL: good, Headers: []icap.Header{{Name: "Preview", Value: "0"}}},
		{URL: good, Headers: []icap.Header{{Name: "allow", Value: "206"}}},
		{URL: good, Headers: []icap.Header{{Name: "X-A"}}},
		{URL: good, Headers: []icap.Header{{Name: "X-A", Value: "hunter2\r\nX: y"}}},
		{URL: good, Headers: []icap.Header{{Name: "X-A", Value: "x", File: empty}}},
		{URL: good, Headers: []icap.Header{{Name: "X-A", File: empty}}},
		{URL: good, Headers: []icap.Header{{Name: "X-A", File: empty + "-none"}}},
	} {
		_, err := icap.New(c)
		if err == nil {
			t.Errorf("%+v: no error", c)
		} else if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("the error shows a secret: %v", err)
		}
	}
}
