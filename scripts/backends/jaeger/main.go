// Jaeger 2 for the end-to-end tests. Its module refuses `go install ...@version`, so this go.mod imports it.
package main

