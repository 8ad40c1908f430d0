"""The lab's pages: a Django project of one app, served by Twogate itself."""
