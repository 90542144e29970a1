// Command image builds the container image of Portcullis without a daemon, a
// base image or a registry: the static binary, the licences of all that is
// linked into it, and the authorities of the public web, as an archive in OCI
// layout, with a bill of materials (SPDX) beside it. The same commit gives the
// same bytes.
//
// It is a module of its own so that what it needs is not Portcullis'. It knows
// the program only as a package to build.
package main
