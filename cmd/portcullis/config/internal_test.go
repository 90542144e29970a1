package config

import (
	"math"
	"testing"

	"google.golang.org/protobuf/reflect/protoreflect"

	configv1 "github.com/portcullis-av/portcullis/cmd/portcullis/config/v1"
)

// Every optional scalar of the file has a default in the proto that can be
// read, or is known to mean "not set" when it is left out.
func TestEveryDefault(t *testing.T) {
	unset := map[protoreflect.FullName]bool{
		"portcullis.config.v1.TLS.client_ca_file":    true, // no client certificates
		"portcullis.config.v1.Cloudmersive.ca_file":  true, // the system's authorities
		"portcullis.config.v1.Canary.interval":       true, // depends on the engine
		"portcullis.config.v1.Spool.disk_dir":        true, // depends on the system
		"portcullis.config.v1.Icap.ca_file":          true, // the system's authorities
		"portcullis.config.v1.IcapHeader.value":      true, // one of the two
		"portcullis.config.v1.IcapHeader.value_file": true, // as above
		"portcullis.config.v1.Remote.policy":         true, // the far side's default
		"portcullis.config.v1.RemoteTLS.ca_file":     true, // the system's authorities
		"portcullis.config.v1.RemoteTLS.server_name": true, // depends on the address
		"portcullis.config.v1.RemoteTLS.cert_file":   true, // no client certificate
		"portcullis.config.v1.RemoteTLS.key_file":    true, // as above
		"portcullis.config.v1.Redis.username":        true, // nobody logs in
		"portcullis.config.v1.Redis.password_file":   true, // as above
		"portcullis.config.v1.Redis.hmac_key_file":   true, // unsigned
		"portcullis.config.v1.RedisTLS.ca_file":      true, // the system's authorities
		"portcullis.config.v1.RedisTLS.server_name":  true, // depends on the address
		"portcullis.config.v1.RedisTLS.cert_file":    true, // no client certificate
		"portcullis.config.v1.RedisTLS.key_file":     true, // as above
		"portcullis.config.v1.OtlpTLS.ca_file":       true, // the system's authorities
		"portcullis.config.v1.OtlpTLS.server_name":   true, // depends on the address
		"portcullis.config.v1.OtlpTLS.cert_file":     true, // no client certificate
		"portcullis.config.v1.OtlpTLS.key_file":      true, // as above
		"portcullis.config.v1.OtlpHeader.value":      true, // one of the two
		"portcullis.config.v1.OtlpHeader.value_file": true, // as above
	}
	messages := configv1.File_portcullis_config_v1_config_proto.Messages()
	for i := range messages.Len() {
		fields := messages.Get(i).Fields()
		for j := range fields.Len() {
			field := fields.Get(j)
			text, ok := defaultOf(field)
			if ok {
				if field.Message() != nil && field.Message().FullName() != durationName {
					continue
				}
				if _, err := defaultValue(field, text); err != nil {
					t.Errorf("%s: default %q: %v", field.FullName(), text, err)
				}
				continue
			}
			duration := field.Message() != nil && field.Message().FullName() == durationName
			advanced := field.Parent().Name() == "Advanced"
			if (field.HasOptionalKeyword() || duration) && !unset[field.FullName()] && !advanced {
				t.Errorf("%s has no default", field.FullName())
			}
		}
	}
}

func TestCheckAddress(t *testing.T) {
	for address, want := range map[string]struct{ listener, client bool }{
		"127.0.0.1:9100":      {true, true},
		"[::1]:9100":          {true, true},
		"localhost:65535":     {true, true},
		":9100":               {true, false},
		"127.0.0.1:0":         {true, false},
		"unix:/run/x.sock":    {true, true},
		"unix:run/x.sock":     {false, false},
		"unix:":               {false, false},
		"unix:/a\x00b":        {false, false},
		"localhost":           {false, false},
		"localhost:65536":     {false, false},
		"localhost:-1":        {false, false},
		"localhost:+80":       {false, false},
		"localhost:grpc":      {false, false},
		"::1:9100":            {false, false},
		"http://localhost:80": {false, false},
		"user@localhost:80":   {false, false},
		"local host:80":       {false, false},
		"":                    {false, false},
	} {
		if got := checkAddress(address, true) == ""; got != want.listener {
			t.Errorf("listener %q: fine = %v, want %v", address, got, want.listener)
		}
		if got := checkAddress(address, false) == ""; got != want.client {
			t.Errorf("client %q: fine = %v, want %v", address, got, want.client)
		}
	}
}

func TestParseInteger(t *testing.T) {
	for text, want := range map[string]int64{
		"0": 0, "7": 7, "-7": -7, "1Ki": 1024, "64Mi": 64 << 20, "3Gi": 3 << 30, "8388607Ti": 8388607 << 40,
		"9223372036854775807": math.MaxInt64,
	} {
		if got, ok := parseInteger(text); !ok || got != want {
			t.Errorf("%q = %d, %v; want %d", text, got, ok, want)
		}
	}
	for _, text := range []string{
		"", "-", "-0", "00", "010", "0x10", "1_000", "1.0", "1e3", "1K", "1MB", "1 Mi", "Mi", "8388608Ti",
		"9223372036854775808", "99999999999999999999", "٣",
	} {
		if got, ok := parseInteger(text); ok {
			t.Errorf("%q = %d, want a refusal", text, got)
		}
	}
}

func TestMaskUserinfo(t *testing.T) {
	for text, want := range map[string]string{
		"https://user:pw@host/a@b": "https://***@host/a@b",
		"https://tok@host":         "https://***@host",
		"https://host/a@b":         "https://host/a@b",
		"a@b":                      "a@b",
	} {
		if got := maskUserinfo(text); got != want {
			t.Errorf("%q is shown as %q, want %q", text, got, want)
		}
	}
}
