// Package client sends exchanges through the gate and records what came back:
// status, headers, bytes, digest, trailers and times; its tap counts every raw
// byte besides. It must not know what it talks to.
package client
