package cloudmersive

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"
)

const (
	// keyRecheck is the longest a changed key file goes unnoticed under
	// traffic. Reading a small file this seldom costs nothing, and comparing
	// content, not times, sees the symlink swap of a mounted Secret.
	keyRecheck = 2 * time.Second
	maxKeyFile = 4 << 10
)

// apiKey is the key in a file. It keeps the last good one; no error of it holds
// what the file holds.
type apiKey struct {
	path string

	mu      sync.Mutex
	key     string
	checked time.Time
	problem error // of the last reading
}

func newAPIKey(path string) (*apiKey, error) {
	if path == "" {
		return nil, errors.New("api key file: is not set")
	}
	key, err := readKey(path)
	if err != nil {
		return nil, err
	}
	return &apiKey{path: path, key: key, checked: time.Now()}, nil
}

// current returns the key to send now.
func (k *apiKey) current() string {
	k.mu.Lock()
	defer k.mu.Unlock()
	if time.Since(k.checked) < keyRecheck {
		return k.key
	}
	k.read()
	return k.key
}

// refused is called when the service would not take the key. It reads the file
// at once, so that the next scan has a key that was changed a moment ago, and
// returns what is wrong with the file, if anything.
func (k *apiKey) refused() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.read()
	return k.problem
}

func (k *apiKey) read() {
	key, err := readKey(k.path)
	k.checked, k.problem = time.Now(), err
	if err == nil {
		k.key = key
	}
}

func readKey(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("api key file: %w", err)
	}
	defer func() { _ = f.Close() }()
	raw, err := io.ReadAll(io.LimitReader(f, maxKeyFile+1))
	if err != nil {
		return "", fmt.Errorf("api key file: %w", err)
	}
	if len(raw) > maxKeyFile {
		return "", fmt.Errorf("api key file: %s is larger than %d bytes", path, maxKeyFile)
	}
	key := strings.TrimSpace(string(raw))
	if key == "" {
		return "", fmt.Errorf("api key file: %s is empty", path)
	}
	if strings.ContainsAny(key, "\r\n") {
		return "", fmt.Errorf("api key file: %s holds more than one line", path)
	}
	for i := range len(key) {
		if key[i] <= ' ' || key[i] > '~' {
			return "", fmt.Errorf("api key file: %s holds a character that no key has (byte %d)", path, i+1)
		}
	}
	return key, nil
}
