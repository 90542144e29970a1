package cache

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func entries() []entry {
	long := strings.Repeat("x", 128)
	all := entry{infected: true}
	for range maxThreats {
		all.threats = append(all.threats, long)
	}
	return []entry{{}, {infected: true}, {infected: true, threats: []string{"Win.Test.EICAR_HDB-1", "B"}}, all}
}

// An entry comes back as it went.
func TestEncoding(t *testing.T) {
	for _, secret := range []string{"", "0123456789abcdef"} {
		s := sealer{[]byte(secret)}
		for _, e := range entries() {
			b := s.seal([32]byte{1}, e)
			if len(b) > maxValue {
				t.Errorf("%d bytes of %d", len(b), maxValue)
			}
			got, err := s.open([32]byte{1}, b)
			if diff := cmp.Diff(e, got, cmp.AllowUnexported(entry{})); err != nil || diff != "" {
				t.Errorf("%v (-want +got):\n%s", err, diff)
			}
		}
	}
}

// Whatever is not exactly an entry of that key is none: cut, longer, any bit
// changed, of another key, or signed by somebody else.
func TestOddEntries(t *testing.T) {
	secret := sealer{[]byte("0123456789abcdef")}
	for _, s := range []sealer{{}, secret} {
		for _, e := range entries() {
			good := s.seal([32]byte{1}, e)
			refused := func(what string, b []byte) {
				t.Helper()
				if got, err := s.open([32]byte{1}, b); err == nil {
					t.Fatalf("%s: %q was taken for %+v", what, b, got)
				}
			}
			for n := range good {
				refused("cut", good[:n])
			}
			refused("longer", append(append([]byte(nil), good...), 0))
			for i := range good {
				for bit := range 8 {
					b := append([]byte(nil), good...)
					b[i] ^= 1 << bit
					refused("changed", b)
				}
			}
			refused("another key", s.seal([32]byte{2}, e))
			refused("another secret", sealer{[]byte("another secret, as long")}.seal([32]byte{1}, e))
		}
	}
	if _, err := secret.open([32]byte{}, sealer{}.seal([32]byte{}, entry{})); err == nil {
		t.Error("an unsigned entry was taken for a signed one")
	}
}

// A sealed text that seal would never write is refused for its form.
func TestOddForms(t *testing.T) {
	var s sealer
	for _, text := range []string{
		"", "PV\x01", "PV\x01C", "PV\x02C\x00", "pv\x01C\x00", "PV\x01c\x00", "PV\x01\x00\x00",
		"PV\x01C\x01\x01A", "PV\x01C\x00x", "PV\x01I\x01", "PV\x01I\x01\x02A", "PV\x01I\x01\x00",
		"PV\x01I\x02\x01A", "PV\x01I\x01\x01A\x01B", "PV\x01I\x01\x01\n", "PV\x01I\x01\xff" + strings.Repeat("A", 255), "PV\x01I\x11" + strings.Repeat("\x01A", 17),
	} {
		if e, err := s.open([32]byte{}, append([]byte(text), s.mac([32]byte{}, []byte(text))...)); err == nil {
			t.Errorf("%q was taken for %+v", text, e)
		}
	}
}

// No text but what seal writes is an entry; least of all a CLEAN one.
func FuzzOpen(f *testing.F) {
	var s sealer
	for _, e := range entries() {
		b := s.seal([32]byte{}, e)
		f.Add(b[:len(b)-32], true)
		f.Add(b, false)
	}
	f.Fuzz(func(t *testing.T, b []byte, sign bool) {
		if sign {
			b = append(b, s.mac([32]byte{}, b)...)
		}
		if e, err := s.open([32]byte{}, b); err == nil && string(s.seal([32]byte{}, e)) != string(b) {
			t.Errorf("%q was taken for %+v", b, e)
		}
	})
}
