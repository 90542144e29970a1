package icaptest

import "bytes"

// EICAR returns the 68 bytes of the EICAR test file, joined from two halves.
func EICAR() []byte {
	return append([]byte(`X5O!P%@AP[4\PZX54(P^)7CC)7}$EICAR-STAND`), `ARD-ANTIVIRUS-TEST-FILE!$H+H*`...)
}

// Marker returns a harmless text that the fake finds at any offset.
func Marker() []byte { return []byte("portcullis-icaptest-marker-91c4") }

// The names under which the fake reports [EICAR] and [Marker], at any offset.
const (
	EICARName  = "Test.Eicar"
	MarkerName = "Test.Marker"
)

// threatIn returns the name of what the body holds, or "".
func threatIn(body []byte) string {
	switch {
	case bytes.Contains(body, EICAR()):
		return EICARName
	case bytes.Contains(body, Marker()):
		return MarkerName
	}
	return ""
}
