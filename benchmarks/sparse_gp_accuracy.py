acceptance_3bpa = mlearn = periodic = None
