package config

import (
	"errors"
	"fmt"
	"io"
	"os"

	"google.golang.org/protobuf/proto"

	configv1 "github.com/portcullis-av/portcullis/cmd/portcullis/config/v1"
)

// Config is a whole and valid configuration with every default filled in. It is
// immutable and safe for concurrent use.
type Config struct {
	message *configv1.Config
	file    string
	places  places
	lines   []string
}

// Check finds mistakes that only the caller can see, such as CEL that does not
// compile; of the problems it returns only Path and Message are read. It is also
// called when other mistakes were found, so that all are reported at once: what
// it gets has its defaults, and may hold any other value.
type Check func(*Config) []Problem

// Load reads a file and checks that what it points at (certificates, keys, hash
// lists, the spool's directory) can be read; relative paths count from the
// working directory. The error is an [*Error].
func Load(path string, checks ...Check) (*Config, error) {
	data, err := readFile(path)
	if err != nil {
		return nil, &Error{File: path, Problems: []Problem{{Message: "cannot be read: " + reason(err)}}}
	}
	return Parse(path, data, append([]Check{CheckFiles}, checks...)...)
}

// Parse reads the text of a file without looking at the file system; name
// stands in messages. Empty data is [Default]. The error is an [*Error].
func Parse(name string, data []byte, checks ...Check) (*Config, error) {
	src, problem := readSource(data)
	if problem != nil {
		return nil, &Error{File: name, Problems: []Problem{*problem}, lines: src.lines}
	}
	message := &configv1.Config{}
	found := newReport(places{})
	if src.root != nil {
		shape{found}.message(src.root, message.ProtoReflect().Descriptor(), "")
		if found.hopeless || len(found.problems) > maxProblems {
			return nil, found.err(name, src.lines)
		}
		decode(src.text, message, found)
	}
	if err := fill(message.ProtoReflect()); err != nil {
		return nil, fmt.Errorf("defaults of the configuration: %w", err)
	}
	complete(message)
	checkRules(message, found)
	checkMeaning(message, found)
	c := &Config{message: message, file: name, places: found.places, lines: src.lines}
	for _, check := range checks {
		for _, p := range check(c) {
			found.add(p.Path, "%s", p.Message)
		}
	}
	if err := found.err(name, src.lines); err != nil {
		return nil, err
	}
	return c, nil
}

// Default is the configuration of an empty file: the builtin engine, both legs
// scanned, fail closed, listening on 127.0.0.1.
func Default() *Config {
	c, err := Parse("default configuration", nil)
	if err != nil {
		panic(err) // the defaults stand in the proto; a test reads them
	}
	return c
}

// Message returns a copy of the configuration; every field that has a default
// is set.
func (c *Config) Message() *configv1.Config { return proto.CloneOf(c.message) }

// Reject returns an [*Error] for problems that came up later, such as when an
// engine was built; of each only Path and Message are read. It returns nil when
// there are none.
func (c *Config) Reject(problems ...Problem) error {
	found := newReport(c.places)
	for _, p := range problems {
		found.add(p.Path, "%s", p.Message)
	}
	return found.err(c.file, c.lines)
}

// readFile reads at most one byte more than is taken.
func readFile(path string) ([]byte, error) {
	f, err := os.Open(path) //nolint:gosec // the operator's own path
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	return io.ReadAll(io.LimitReader(f, MaxFileBytes+1))
}

// reason strips the operation and path that the message has already.
func reason(err error) string {
	var pathErr *os.PathError
	if errors.As(err, &pathErr) {
		return pathErr.Err.Error()
	}
	return err.Error()
}
