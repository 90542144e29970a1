package cache

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"hash"
	"io"
	"sync"
	"sync/atomic"

	"github.com/portcullis-av/portcullis/scan"
)

// key names one object as judged by one state of one engine.
type key struct {
	sum   [sha256.Size]byte
	size  int64
	scope [sha256.Size]byte
	// private keeps it in this process.
	private bool
}

// digest names the key outside this process.
func (k key) digest() [sha256.Size]byte {
	var b [2*sha256.Size + 8]byte
	copy(b[:], k.scope[:])
	copy(b[sha256.Size:], k.sum[:])
	binary.BigEndian.PutUint64(b[2*sha256.Size:], uint64(k.size))
	return sha256.Sum256(b[:])
}

// scope is what a verdict depends on beside the content.
type scope struct {
	id [sha256.Size]byte
	// version is the signature version, "" when unknown.
	version string
}

// scopes follows an engine's signature version.
type scopes struct {
	identity Identity
	start    [16]byte // random
	version  func() string

	current atomic.Pointer[scope]
	mu      sync.Mutex
	changes uint64 // of the version
}

func newScopes(identity Identity, version func() string) *scopes {
	s := &scopes{identity: identity, version: version}
	_, _ = rand.Read(s.start[:]) // never fails
	return s
}

// now returns the scope of a scan that begins now. It is the same pointer as long
// as the version was not seen to change.
func (s *scopes) now() *scope {
	version := s.version()
	if at := s.current.Load(); at != nil && at.version == version {
		return at
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if at := s.current.Load(); at != nil && at.version == version {
		return at
	}
	s.changes++
	at := &scope{version: version, id: s.identify(version)}
	s.current.Store(at)
	return at
}

func (s *scopes) identify(version string) (id [sha256.Size]byte) {
	h := sha256.New()
	field(h, "portcullis verdict 1")
	field(h, s.identity.Name)
	field(h, s.identity.Config)
	if version != "" {
		field(h, "signatures")
		field(h, version)
	} else {
		field(h, "start")
		field(h, string(s.start[:]))
		field(h, string(binary.BigEndian.AppendUint64(nil, s.changes)))
	}
	h.Sum(id[:0])
	return id
}

// key returns the key of o in this scope.
func (s *scopes) key(at *scope, o scan.Object) key {
	k := key{sum: o.SHA256, size: o.Size, scope: at.id, private: at.version == ""}
	if s.identity.Labels {
		h := sha256.New()
		field(h, string(at.id[:]))
		field(h, o.Name)
		field(h, o.ContentType)
		h.Sum(k.scope[:0])
	}
	return k
}

// field writes s so that no two lists of fields give the same bytes.
func field(h hash.Hash, s string) {
	_, _ = h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(s))))
	_, _ = io.WriteString(h, s)
}
