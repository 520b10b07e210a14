"""The gateway: browsers speak gRPC-Web with it, and it speaks gRPC with the services. It also serves the console."""
