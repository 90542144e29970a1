package clamdtest

import "bytes"

// Signature is a byte pattern and the name that is reported for it.
type Signature struct {
	Name    string
	Pattern []byte
	// Anchored patterns match at the start of a stream only.
	Anchored bool
}

// EICAR returns the 68 bytes of the EICAR test file, joined from two halves.
func EICAR() []byte {
	return append([]byte(`X5O!P%@AP[4\PZX54(P^)7CC)7}$EICAR-STAND`), `ARD-ANTIVIRUS-TEST-FILE!$H+H*`...)
}

// Marker returns a harmless text that both clamds find at any offset.
func Marker() []byte { return []byte("portcullis-clamdtest-marker-7f3a") }

// The names under which both clamds report [EICAR], at the start of a stream
// only, and [Marker].
const (
	EICARName  = "Test.Eicar.UNOFFICIAL"
	MarkerName = "Test.Marker.UNOFFICIAL"
)

func builtinSignatures() []Signature {
	return []Signature{
		{Name: EICARName, Pattern: EICAR(), Anchored: true},
		{Name: MarkerName, Pattern: Marker()},
	}
}

func (s Signature) matches(stream []byte) bool {
	if s.Anchored {
		return bytes.HasPrefix(stream, s.Pattern)
	}
	return bytes.Contains(stream, s.Pattern)
}
