package config

import (
	"net"
	"net/url"
	"strconv"
	"strings"
)

// checkAddress says what is wrong with an address, or nothing. A listener may
// leave the host out, which is every interface; its port may be 0, which is any
// free one.
func checkAddress(address string, listener bool) string {
	if path, ok := strings.CutPrefix(address, "unix:"); ok {
		switch {
		case !strings.HasPrefix(path, "/"):
			return `must be an absolute path after "unix:", such as unix:/run/portcullis/extproc.sock`
		case len(path) > maxSocketPath:
			return "is longer than the " + strconv.Itoa(maxSocketPath) + " bytes that a Unix socket's path may have"
		case strings.ContainsRune(path, 0):
			return "must not hold a NUL character"
		}
		return ""
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return "must be host:port or unix:/path, not " + shown(address)
	}
	least := 1
	if listener {
		least = 0
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || int(n) < least {
		return "must end in a port from " + strconv.Itoa(least) + " to 65535, not " + shown(port)
	}
	if host == "" && !listener {
		return "must name a host before the port"
	}
	if strings.ContainsFunc(host, func(r rune) bool { return r <= ' ' || r == '/' || r == '@' || r > '~' }) {
		return "must be host:port or unix:/path, not " + shown(address)
	}
	return ""
}

// maxSocketPath is the room for a path in Linux's sockaddr_un, the ending NUL
// taken off (unix(7)).
const maxSocketPath = 107

// portZero tells whether the address asks for any free port.
func portZero(address string) bool {
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	n, err := strconv.ParseUint(port, 10, 16)
	return err == nil && n == 0
}

// checkURL says what is wrong with an engine's base URL, or nothing. It never
// repeats the URL, which may hold a secret.
func checkURL(text string) string {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Host == "" || u.Hostname() == "" || u.Scheme != "https" && u.Scheme != "http":
		return "must be a URL such as https://api.cloudmersive.com"
	case u.User != nil:
		return "must not hold a user name or password; secrets belong into files"
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return "must end with the path; no ? and no #"
	}
	return ""
}
